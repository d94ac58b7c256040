"""Owns putting a finished repository into its place by renames, each step of which leaves a whole one, old or new.
It must not know how it was made. What was there and is anybody's work is moved, never removed."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterable

from pifleet.results.outgoing.inside.look import Look, Seen
from pifleet.results.outgoing.inside.writer import name_problem


class Declined(Exception):
    """What is in the place stays, for the reason that the text says."""


class Place:
    """Where the unit `path` belongs; `making` is the folder beside it in which it is made."""

    def __init__(self, look: Look, path: bytes) -> None:
        self._look, self._path = look, path
        self.top = path == b"."
        self.target = os.path.normpath(os.path.join(look.workspace, path))
        beside = self.target if self.top else os.path.dirname(self.target)
        mark = hashlib.sha256(path).hexdigest()[:16].encode()
        self.making = os.path.join(beside, b".pifleet-back-" + mark)
        self._replaced = os.path.join(beside, b".pifleet-replaced-" + mark)

    def prepare(self) -> None:
        """Make the folders around it, and end what a return that was killed had begun. Raises Declined, OSError."""
        if not self.top and (problem := name_problem(self._path)):
            raise Declined(f"its name is not written: {problem}")
        folder = self._look.workspace
        for part in os.path.relpath(self.target, folder).split(b"/")[:-1]:
            folder = os.path.join(folder, part)
            if not os.path.lexists(folder):
                os.mkdir(folder)
            if not _is_folder(folder):
                raise Declined("a folder that it lies in is a file or a link now")
        if os.path.lexists(self.making):
            shutil.rmtree(self.making)
        if os.path.lexists(self._replaced):
            if os.path.lexists(self.target):
                self._carry_over()
            else:
                os.rename(self._replaced, self.target)

    def free(self) -> bool:
        """Whether nothing is there, or an empty folder."""
        return not os.path.lexists(self.target) or (_is_folder(self.target) and not os.listdir(self.target))

    def discard(self) -> None:
        shutil.rmtree(self.making, ignore_errors=True)

    def put(self) -> None:
        """Into a free place; into a workspace that is a repository itself, file by file and the repository last.
        Raises Declined, OSError."""
        if self.top:
            names = sorted(os.listdir(self.making), key=lambda name: (name == b".git", name))
            _refuse(self.making, self.target, names)
            for name in names:
                _merge(os.path.join(self.making, name), os.path.join(self.target, name))
            return
        if os.path.lexists(self.target):
            os.rmdir(self.target)
        os.rename(self.making, self.target)

    def put_instead(self, generation: int) -> bytes:
        """After what is there was moved aside; returns where that is now."""
        aside = stem = self.target + b".before-generation-%d" % generation
        number = 1
        while os.path.lexists(aside):
            number += 1
            aside = stem + b"-%d" % number
        os.rename(self.target, aside)
        self.put()
        return aside

    def replace(self, seen: Seen) -> None:
        """In the stead of a clone that nobody worked in: what git ignores in it and other repositories inside it are
        carried over. Raises Declined when these would be in the way, or when it is not as it was seen."""
        _refuse(self.target, self.making, _luggage(seen))
        now = self._look.repository(os.path.relpath(self.target, self._look.workspace))
        if now is None or (now.trees, now.commits) != (seen.trees, seen.commits):
            raise Declined("it was changed while the generation was sent")
        os.rename(self.target, self._replaced)
        os.rename(self.making, self.target)
        self._carry_over()

    def _carry_over(self) -> None:
        seen = self._look.repository(os.path.relpath(self._replaced, self._look.workspace))
        for rel in _luggage(seen) if seen else []:
            source, target = os.path.join(self._replaced, rel), os.path.join(self.target, rel)
            if os.path.lexists(source):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                _merge(source, target)
        shutil.rmtree(self._replaced)


def _luggage(seen: Seen) -> list[bytes]:
    """What a clone holds beside its own files, relative to it."""
    return sorted({*seen.repository.ignored, *(os.path.relpath(other, seen.root) for other in seen.nested)})


def _refuse(source: bytes, target: bytes, names: Iterable[bytes]) -> None:
    for name in names:
        if clash := _clash(source, target, name):
            raise Declined(f"{os.fsdecode(clash)} is there already, and another one")


def _clash(source: bytes, target: bytes, rel: bytes) -> bytes:
    """The first thing at or below `rel` of which both folders have a different one; empty for none."""
    there = target
    for part in rel.split(b"/")[:-1]:
        there = os.path.join(there, part)
        if os.path.lexists(there) and not _is_folder(there):
            return rel
    ours, theirs = os.path.join(source, rel), os.path.join(target, rel)
    if not os.path.lexists(theirs):
        return b""
    if not (_is_folder(ours) and _is_folder(theirs)):
        return b"" if _alike(ours, theirs) else rel
    names = os.listdir(ours)
    if b".git" in names and os.listdir(theirs):
        return rel
    return next(filter(None, (_clash(source, target, os.path.join(rel, name)) for name in sorted(names))), b"")


def _merge(source: bytes, target: bytes) -> None:
    """Move all of `source` that `target` lacks; the rest is known to be equal."""
    if not os.path.lexists(target):
        os.rename(source, target)
    elif _is_folder(source) and _is_folder(target):
        for name in os.listdir(source):
            _merge(os.path.join(source, name), os.path.join(target, name))


def _alike(one: bytes, other: bytes) -> bool:
    if os.path.islink(one) or os.path.islink(other):
        return os.path.islink(one) and os.path.islink(other) and os.readlink(one) == os.readlink(other)
    return os.path.isfile(one) and os.path.isfile(other) and filecmp.cmp(one, other, shallow=False)


def _is_folder(path: bytes) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
