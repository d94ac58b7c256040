"""Owns writing a generation, or a part of it, as plain files into a place of this machine where nothing is yet.
It must not write over anything, nor follow a link on the way."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pifleet.errors import PifleetError, Refused
from pifleet.results.choosing import Chosen, Part, explained
from pifleet.results.limits import Refusal
from pifleet.results.outcome import Item
from pifleet.results.plain.disk import FOLDER, Walk, permissions
from pifleet.results.plain.placing import put
from pifleet.results.plain.plan import Kept, Plan
from pifleet.results.review import files_of, is_file
from pifleet.results.store.contents import Contents, File


@dataclass(frozen=True)
class Restored:
    """What was written, and `left_out`: entries too dangerous for a folder, or in each other's way."""

    to: Path
    files: int
    bytes: int
    left_out: tuple[Item, ...]

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "to": str(self.to), "left_out": [vars(item) for item in self.left_out]}


def restore(chosen: Chosen, typed: str, to: Path) -> Restored:
    """Write `REPO[/PATH]`, or everything, to `to`: a folder that is new or empty.

    A single file may be given a new name with `to`, or an existing folder. Raises BadInput where there is nothing of
    that name, Refused where something would be written over, PifleetError when the store is damaged or the disk full.
    """
    try:
        with explained(chosen.store, chosen.title), chosen.contents() as contents:
            found = files_of(chosen, typed, contents)
            if is_file(found):
                return _one(found[0][1], to, chosen, contents)
            return _many(_plan(found, _base(chosen.part(typed), typed), chosen, contents), to, contents)
    except OSError as error:
        raise PifleetError(f"{chosen.title} could not be written to {to}", saw=error.strerror or str(error),
                           where=os.fsdecode(error.filename or to)) from None


def _base(parts: Sequence[Part], typed: str) -> bytes:
    """What of the names is not repeated in the folder: that which was typed."""
    name = os.fsencode(typed).strip(b"/")
    first = parts[0]
    if not name or first.place.startswith(name + b"/"):
        return name
    return b"/".join(filter(None, (first.place, first.path)))


def _plan(found: Sequence[tuple[Part, File]], base: bytes, chosen: Chosen, contents: Contents) -> Plan:
    """Each file is judged by its path in its unit; of two that cannot both be, the first is written."""
    plan = Plan(chosen.store.limits)
    for part, file in found:
        try:
            plan.add(part.place, [file], contents)
        except Refusal as refusal:
            if refusal.code != "name.conflict":
                raise
            plan.kept.append(Kept(refusal.where, refusal.code))
    plan.disarm()
    plan.files = {path[len(base) :].lstrip(b"/"): file for path, file in plan.files.items()}
    return plan


def _many(plan: Plan, to: Path, contents: Contents) -> Restored:
    """The folder is made beside its place and then named, so that one that is there is whole."""
    if os.path.lexists(to) and (to.is_symlink() or not to.is_dir() or any(to.iterdir())):
        raise _occupied(to, "is not an empty folder")
    new = to.parent / f".{to.name}.{secrets.token_hex(4)}.new"
    new.mkdir(mode=0o700)
    try:
        with Walk(os.open(new, FOLDER)) as walk:
            for path, file in sorted(plan.files.items(), key=lambda item: item[0].split(b"/")):
                outer, _, name = path.rpartition(b"/")
                _write(walk.to(outer, make=True), name, file, contents)
        new.rename(to)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return _restored(to, list(plan.files.values()), plan.kept, contents)


def _one(file: File, to: Path, chosen: Chosen, contents: Contents) -> Restored:
    """One file, under its own name where `to` is a folder."""
    plan = Plan(chosen.store.limits)
    plan.add(b"", [file], contents)
    for kept in plan.kept:
        raise Refused(f"{kept.path} is too dangerous for a folder: {kept.reason}", where=str(to),
                      try_="pifleet results show prints it")
    target = to / os.fsdecode(file.path.rpartition(b"/")[2]) if to.is_dir() else to
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _write(folder, os.fsencode(target.name), file, contents):
            raise _occupied(target, "is there already")
    finally:
        os.close(folder)
    return _restored(target, [file], [], contents)


def _write(folder: int, name: bytes, file: File, contents: Contents) -> bool:
    """False where something of that name is there, which stays."""
    temporary = f".{secrets.token_hex(8)}.new".encode()
    return put(folder, name, file, contents, temporary=temporary, mode=permissions(file), over=None) is not None


def _restored(to: Path, files: list[File], kept: list[Kept], contents: Contents) -> Restored:
    sizes = contents.sizes(files)
    return Restored(to, len(files), sum(sizes[file.oid] for file in files),
                    tuple(Item(one.path, one.reason) for one in kept))


def _occupied(to: Path, what: str) -> Refused:
    return Refused(f"{to} {what}; nothing was written", where=str(to),
                   try_="the same command with --to and a name that is not there yet")
