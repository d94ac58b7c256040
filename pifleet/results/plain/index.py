"""Owns what we remember of a plain folder: what we wrote where, and what of that the next generation changes.
It must not look at the folder.

An index is a line with its form and checksum, a line of JSON, and then one record a file: facts of the file as we left
it, kind, id, length of the path, path. One that is lost or damaged costs reading every file once, and makes nothing
look like ours that is not.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pifleet.results.plain.journal import Journal
from pifleet.results.plain.plan import Plan, by_folder
from pifleet.results.store.contents import File
from pifleet.results.store.trees import EXECUTABLE_MODE, LINK_MODE

_FACTS = struct.Struct("<QqqQ")  # size, mtime and ctime in nanoseconds, inode
_MARK = slice(_FACTS.size, _FACTS.size + 21)  # kind and id: all that a generation says of a file
_FIXED = _FACTS.size + 21 + 2
_MODES = {b"l": LINK_MODE, b"x": EXECUTABLE_MODE, b"X": EXECUTABLE_MODE, b"f": 0o100644, b"F": 0o100644}


def facts_of(seen: os.stat_result) -> bytes:
    return _FACTS.pack(seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)


def no_facts(file: File) -> bytes:
    """For a file that is to be read before it counts as ours."""
    return _FACTS.pack(file.size or 0, 0, 0, 0)


class Record(NamedTuple):
    """A file as we wrote it, and the facts of what then lay there."""

    file: File
    facts: bytes


@dataclass(frozen=True)
class Changes:
    """What differs: the files to be written, and (place, path) of ours that are no more wanted where they lie.

    `records` tells of each such path what we wrote last; `asides` is where things go on to stand aside.
    """

    wanted: list[File]
    gone: list[tuple[bytes, bytes]]
    records: dict[bytes, Record]
    asides: dict[bytes, bytes]


def _seal(told: bytes, records: bytes | bytearray) -> bytes:
    return b"pifleet.folder/1 %08x\n" % zlib.crc32(records, zlib.crc32(told))


def _mark(file: File) -> bytes:
    if file.link:
        kind = b"l"
    elif file.mode == EXECUTABLE_MODE:
        kind = b"X" if file.blocks else b"x"
    else:
        kind = b"F" if file.blocks else b"f"
    return kind + bytes.fromhex(file.oid)


def _read(path: bytes, raw: bytes) -> Record:
    kind, oid = raw[_FACTS.size : _FACTS.size + 1], raw[_FACTS.size + 1 : _FIXED - 2].hex()
    size = _FACTS.unpack_from(raw)[0] if kind.isupper() else None
    return Record(File(path, _MODES[kind], oid, size), raw[: _FACTS.size])


def covering(asides: Container[bytes], path: bytes) -> bytes:
    """The path itself or the folder on the way to it that is among `asides`; "" where there is none."""
    at = len(path)
    while at > 0:
        if path[:at] in asides:
            return path[:at]
        at = path.rfind(b"/", 0, at)
    return b""


def place(asides: Mapping[bytes, bytes], path: bytes) -> bytes:
    """Where our file of this path lies."""
    root = covering(asides, path)
    return asides[root] + path[len(root) :] if root else path


class Index:
    """The index of one plain folder, as it was after `generation`; 0 where we have written nothing.

    `asides` are the paths at which a person's own was in the way, with the place of ours: a file, or a whole folder.
    """

    def __init__(self, generation: int = 0, asides: Mapping[bytes, bytes] | None = None, records: bytes = b"") -> None:
        self.generation, self.asides = generation, dict(asides or {})
        self._records = records

    @classmethod
    def load(cls, path: Path) -> Index:
        """An empty one where there is none that is whole."""
        try:
            with path.open("rb") as file:
                seal, told, records = file.readline(), file.readline(), file.read()
        except FileNotFoundError:
            return cls()
        if seal != _seal(told, records):
            return cls()
        head = json.loads(told)
        asides = {home.encode("latin-1"): aside.encode("latin-1") for home, aside in head["asides"].items()}
        return cls(head["generation"], asides, records)

    def _each(self) -> Iterator[tuple[bytes, bytes]]:
        """(path, record before the path)"""
        records, at = self._records, 0
        while at < len(records):
            start = at + _FIXED
            end = start + int.from_bytes(records[start - 2 : start], "little")
            yield records[start:end], records[at:start]
            at = end

    def differing(self, plan: Plan) -> list[File]:
        """The files of `plan` that the folder has not, or has otherwise."""
        left = dict(plan.files)
        for path, raw in self._each():
            if path in left and raw[_MARK] == _mark(left[path]):
                del left[path]
        return list(left.values())

    def changes(self, plan: Plan, journal: Journal) -> Changes:
        """What `plan` asks for, and all that an attempt which broke off may have left as it should not be.

        Where that concerns something that stands aside, the whole of it is made anew.
        """
        fresh, touched = set(plan.files), {*journal.files, *journal.asides}
        for path, raw in self._each():
            fresh.discard(path)
            if path not in plan.files or raw[_MARK] != _mark(plan.files[path]):
                touched.add(path)
        touched |= fresh
        asides = self.asides | journal.asides
        stale = {covering(asides, path) for path in touched} - {b""} if asides else set()
        if stale:
            known = (*plan.files, *(path for path, _ in self._each()))
            touched |= {path for path in known if covering(stale, path)}
        gone = [(place(asides, path), path) for path in touched if stale and covering(stale, path)]
        gone += [(path, path) for path in touched if path not in plan.files]
        return Changes(
            sorted((plan.files[path] for path in touched if path in plan.files), key=by_folder),
            sorted(gone, reverse=True),
            {path: _read(path, raw) for path, raw in self._each() if path in touched},
            {home: aside for home, aside in asides.items() if home not in stale},
        )

    def save(self, at: Path, generation: int, plan: Plan, written: Mapping[bytes, Record],
             asides: Mapping[bytes, bytes]) -> None:
        """Keep, in one step, the index of the folder after `generation`: what was `written` now, and else as it was."""
        records = bytearray()
        for path, raw in self._each():
            if path in plan.files and path not in written:
                records += raw + path
        for path, record in written.items():
            records += record.facts + _mark(record.file) + len(path).to_bytes(2, "little") + path
        shown = {home.decode("latin-1"): aside.decode("latin-1") for home, aside in asides.items()}
        told = json.dumps({"generation": generation, "asides": shown}).encode() + b"\n"
        fresh = at.with_suffix(".new")
        with fresh.open("wb") as file:
            file.writelines((_seal(told, records), told, records))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(at)
