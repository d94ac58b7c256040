"""Owns taking one file or link along, whichever tree of a unit it belongs to, and the notes of what cannot come.
It must not trust an index's idea of what is unchanged, follow a link, or apply a filter.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from pifleet.results.capture.files import Reader
from pifleet.results.capture.repository import Note
from pifleet.results.capture.stats import UNKNOWN, facts_of, size_in
from pifleet.results.capture.tool import bad_gitmodules, names_gitmodules
from pifleet.results.capture.watch import Known


class File(NamedTuple):
    """As it comes along: its kind (see stats.MODES), id, the facts of when it was read, and bytes."""

    kind: bytes
    oid: bytes
    facts: bytes
    size: int


class Taker:
    """Takes the files of one unit; `known` says that home holds what is remembered, `limit` is in bytes."""

    def __init__(self, reader: Reader, notes: list[Note], limit: int, *, known: bool) -> None:
        self.reader, self.notes, self._limit, self._known = reader, notes, limit, known

    def note(self, path: bytes, reason: str, size: int = 0) -> None:
        self.notes.append((path, reason, size))

    def children(self, folder: bytes, prefix: bytes) -> list[os.DirEntry[bytes]]:
        try:
            children = list(os.scandir(folder))
        except OSError as error:
            self.note(prefix[:-1], why(error))
            return []
        if not children and prefix:
            self.note(prefix[:-1], "empty")
        return sorted(children, key=lambda child: child.name)

    def look(self, full: bytes, rel: bytes) -> os.stat_result | None:
        try:
            return os.lstat(full)
        except OSError as error:
            self.note(rel, why(error))
            return None

    def take(self, full: bytes, rel: bytes, seen: os.stat_result, old: Known | None) -> File | None:
        """One file or link; `old` is what it was and is still. None, with a note, for what cannot come along."""
        try:
            if old and old[0] in _kinds(seen) and (self._known or self.reader.comes_home(old[1])):
                (kind, oid), facts = old, facts_of(seen)
            elif stat.S_ISLNK(seen.st_mode) and not names_gitmodules(rel):
                kind, oid, facts = b"l", self.reader.link(full), facts_of(seen)
            elif names_gitmodules(rel) and (not stat.S_ISREG(seen.st_mode) or bad_gitmodules(full)):
                self.note(rel, "path.git", seen.st_size)
                return None
            elif stat.S_ISREG(seen.st_mode) and seen.st_size <= self._limit:
                read = self.reader.file(full)
                kind, oid, facts = read.kind, read.oid, read.facts
                if read.changed:
                    self.note(rel, "changed", seen.st_size)
                    facts = UNKNOWN
            else:
                self.note(rel, "limit.file" if stat.S_ISREG(seen.st_mode) else "special", seen.st_size)
                return None
        except OSError as error:
            self.note(rel, why(error))
            return None
        return File(kind, oid, facts, seen.st_size if facts == UNKNOWN else size_in(facts))

    def size_of(self, file: File) -> int:
        """Bytes of a file that came in blocks."""
        return self.reader.sizes.get(file.oid, file.size)


def why(error: OSError) -> str:
    return {errno.EACCES: "capture.denied", errno.EPERM: "capture.denied", errno.ENAMETOOLONG: "path.too_long"}.get(
        error.errno or 0, "changed")


def _kinds(seen: os.stat_result) -> bytes:
    """The kinds that a file of this type and mode may have been remembered as."""
    if stat.S_ISLNK(seen.st_mode):
        return b"l"
    if not stat.S_ISREG(seen.st_mode):
        return b""
    return b"xX" if seen.st_mode & 0o100 else b"fF"
