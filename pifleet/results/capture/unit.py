"""Owns one unit of work, a repository's work tree or a plain folder: walked, hashed byte for byte, made into commits.
It must not trust an index's idea of what is unchanged, follow a link, or apply a filter."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import IO, Any

from pifleet.results.capture.bench import Bench, blob_digest
from pifleet.results.capture.framing import CHUNK, text_of
from pifleet.results.capture.repository import Entry, Repository
from pifleet.results.capture.tool import names_git

DEPTH = 128
_WHOLE = 64 << 20  # files up to here are read in one piece
_ATTEMPTS = 3
_TIPS = 200


class Unit:
    """`apart` are the folders of all repositories; `request` gives the limits and the names of what may be left out."""

    def __init__(self, root: bytes, repository: Repository, apart: set[bytes], request: dict[str, Any],
                 bench: Bench) -> None:
        self._root, self._repository, self._apart = root, repository, apart
        self._request, self._bench = request, bench
        self.notes = list(repository.notes)
        self.files = self.bytes = 0
        self._known = {oid for _, _, (_, oid, _) in repository.index} | {oid for _, oid, _ in repository.committed}

    def capture(self) -> None:
        """Commits `snapshot` (parents: HEAD, and `index` if it differs), `ignored`, `operation` and `tips`."""
        have = self._repository
        parents = [have.head] if have.head else []
        staged = [entry for _, stage, entry in have.index if not stage]
        if sorted(staged) != sorted(have.committed):
            self._bench.commit("index", staged, parents)
            parents = [*parents, "refs/p/index"]
        self._bench.commit("snapshot", [] if have.bare else self._work_tree(), parents)
        if ignored := self._ignored():
            self._bench.commit("ignored", ignored, [])
        if have.state_files:
            files = [("100644", self._bench.blob(data), path) for path, data in have.state_files.items()]
            self._bench.commit("operation", files, [])
        tips = sorted(have.tips)
        for at in range(0, len(tips), _TIPS):
            self._bench.commit("tips", [], (["refs/p/tips"] if at else []) + tips[at : at + _TIPS])

    def _note(self, path: bytes, reason: str, size: int = 0) -> None:
        self.notes.append((path, reason, size))

    def _work_tree(self) -> list[Entry]:
        found = [entry for full, rel in self._walk(self._root, b"") if (entry := self._entry(full, rel))]
        self.files = len(found)
        there = {path for _, _, path in found}
        for tag, stage, (mode, oid, path) in self._repository.index:
            # A submodule's work is a unit of its own; a sparse checkout leaves files out on purpose.
            sparse = tag in "Ss" and not os.path.lexists(os.path.join(self._root, path))
            if not stage and path not in there and (mode == "160000" or sparse):
                found.append((mode, oid, path))
        return found

    def _ignored(self) -> list[Entry]:
        """Ignored files come along, as a tree of their own, while they are few and small; else they are only named."""
        found: list[Entry] = []
        room = self._request["ignored_bytes"]
        for top in sorted(self._repository.ignored):
            if any(part in self._request["waived"] for part in text_of(top).split("/")):
                self._note(top, "waived")
                continue
            full = os.path.join(self._root, top)
            if full in self._apart:
                continue
            folder = os.path.isdir(full) and not os.path.islink(full)
            inside = list(self._walk(full, top + b"/", ignored=True)) if folder else [(full, top)]
            weight = sum(os.lstat(path).st_size for path, _ in inside if os.path.lexists(path))
            if weight > room or len(found) + len(inside) > self._request["ignored_files"]:
                self._note(top, "ignored", weight)
                continue
            room -= weight
            found += [entry for path, rel in inside if (entry := self._entry(path, rel))]
        return found

    def _walk(self, folder: bytes, prefix: bytes, ignored: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """(full path, relative path) of all that is neither a folder nor another unit; ignored things only if asked."""
        try:
            children = sorted(os.scandir(folder), key=lambda child: child.name)
        except OSError as error:
            return self._note(prefix[:-1], _why(error))
        if not children and prefix:
            self._note(prefix[:-1], "empty")
        for child in children:
            rel = prefix + child.name
            own = child.name == b".git" and folder == self._root in self._apart
            if own or (not ignored and rel in self._repository.ignored):
                continue
            if names_git(child.name):
                self._note(rel, "path.git")
            elif not child.is_dir(follow_symlinks=False):
                yield child.path, rel
            elif rel.count(b"/") >= DEPTH - 1:
                self._note(rel, "path.too_deep")
            elif child.path not in self._apart:
                yield from self._walk(child.path, rel + b"/", ignored)

    def _entry(self, full: bytes, rel: bytes) -> Entry | None:
        """What goes into the tree for one file or link; None, with a note, for what cannot."""
        try:
            facts = os.lstat(full)
            if stat.S_ISLNK(facts.st_mode) and os.path.basename(rel).lower() != b".gitmodules":
                return ("120000", self._store(os.readlink(full)), rel)
            if stat.S_ISREG(facts.st_mode) and facts.st_size <= self._request["file"]:
                return ("100755" if facts.st_mode & 0o100 else "100644", self._file(full, rel), rel)
            reasons = {stat.S_IFREG: "limit.file", stat.S_IFLNK: "path.git"}
            self._note(rel, reasons.get(stat.S_IFMT(facts.st_mode), "special"), facts.st_size)
        except OSError as error:
            self._note(rel, _why(error))
        return None

    def _store(self, data: bytes) -> str:
        digest = blob_digest(len(data))
        digest.update(data)
        if digest.hexdigest() not in self._known:
            self._known.add(self._bench.blob(data))
        return digest.hexdigest()

    def _file(self, full: bytes, rel: bytes) -> str:
        """The file's bytes as they are, whatever filters say; read again when they changed under our hands."""
        for _ in range(_ATTEMPTS):
            with open(os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                before = os.fstat(file.fileno())
                oid = self._large(file, before.st_size) if before.st_size > _WHOLE else self._store(file.read(_WHOLE))
                after = os.fstat(file.fileno())
            if all(getattr(before, fact) == getattr(after, fact) for fact in ("st_size", "st_mtime_ns", "st_ctime_ns")):
                self.bytes += before.st_size
                return oid
        self._note(rel, "changed", after.st_size)
        return oid

    def _large(self, file: IO[bytes], size: int) -> str:
        digest = blob_digest(size)
        left = size
        while left and (chunk := file.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        if left or digest.hexdigest() not in self._known:
            file.seek(0)
            self._known.add(oid := self._bench.large(file, size))
            return oid
        return digest.hexdigest()


def _why(error: OSError) -> str:
    return {errno.EACCES: "capture.denied", errno.EPERM: "capture.denied", errno.ENAMETOOLONG: "path.too_long"}.get(
        error.errno or 0, "changed")
