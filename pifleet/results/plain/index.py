"""Owns what we remember of a plain folder: which shape we brought it to, and what of that the next generation changes.
It must not look at the folder.

An index is a line with its form and checksum and a line of JSON. What a file held is not in it: that is in the store.
One that is lost or damaged costs reading every file once, and makes nothing look like ours that is not.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pifleet.results.plain.journal import Journal
from pifleet.results.plain.layers import Layer
from pifleet.results.plain.plan import by_folder
from pifleet.results.plain.update import Shape, Update
from pifleet.results.store.contents import File

_FACTS = struct.Struct("<QqqQ")  # size, mtime and ctime in nanoseconds, inode
_LARGE = 1 << 20  # bytes; a smaller file is read as soon as its facts could be looked up
UNKNOWN = b""  # facts of a file that is to be read before it counts as ours


def facts_of(seen: os.stat_result) -> bytes:
    return _FACTS.pack(seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)


def memorable(facts: bytes) -> bytes:
    """Facts of a file that is too large to be read again for nothing; of any other they are UNKNOWN."""
    return facts if facts and _FACTS.unpack(facts)[0] >= _LARGE else UNKNOWN


class Record(NamedTuple):
    """A file as we wrote it, and the facts of what then lay there where they are remembered."""

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


@dataclass(frozen=True)
class Index:
    """The index of one plain folder, as it was after `generation`; 0 where we have written nothing.

    `asides` are the paths at which a person's own was in the way, with the place of ours: a file, or a whole folder.
    `large` has the facts of large files as we left them, by path, which spares reading those again.
    """

    generation: int = 0
    shape: Shape = field(default_factory=Shape)
    asides: Mapping[bytes, bytes] = field(default_factory=dict)
    large: Mapping[bytes, bytes] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Index:
        """An empty one where there is none that is whole."""
        try:
            with path.open("rb") as file:
                seal, told = file.readline(), file.read()
        except FileNotFoundError:
            return cls()
        return _parsed(json.loads(told)) if seal == _seal(told) else cls()

    def near(self, journal: Journal) -> set[bytes]:
        """Where more is to be looked at than what a generation changes."""
        return {*journal.files, *journal.asides, *self.asides}

    def changes(self, update: Update, journal: Journal) -> Changes:
        """What `update` asks for, and all that an attempt which broke off may have left as it should not be.

        Where that concerns something that stands aside, the whole of it is made anew.
        """
        old, new = update.old, update.new
        touched = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
        touched |= {*journal.files, *journal.asides}
        asides = {**self.asides, **journal.asides}
        stale = {covering(asides, path) for path in touched} - {b""} if asides else set()
        if stale:
            touched |= {path for path in old.keys() | new.keys() if covering(stale, path)}
        gone = [(place(asides, path), path) for path in touched if stale and covering(stale, path)]
        gone += [(path, path) for path in touched if path not in new]
        return Changes(
            sorted((new[path] for path in touched if path in new), key=by_folder),
            sorted(gone, reverse=True),
            {path: Record(old[path], self.large.get(path, UNKNOWN)) for path in touched if path in old},
            {home: aside for home, aside in asides.items() if home not in stale},
        )

    def after(self, generation: int, shape: Shape, changes: Changes, written: Mapping[bytes, bytes],
              asides: Mapping[bytes, bytes]) -> Index:
        """The index of the folder when these changes are made: what was `written` now, and else as it was."""
        gone = changes.records.keys() | {path for _, path in changes.gone}
        large = {path: facts for path, facts in self.large.items() if path not in gone}
        large |= {path: facts for path, facts in written.items() if facts}
        return Index(generation, shape, asides, large)

    def save(self, at: Path) -> None:
        """In one step."""
        told = json.dumps(_told(self)).encode() + b"\n"
        fresh = at.with_suffix(".new")
        with fresh.open("wb") as file:
            file.writelines((_seal(told), told))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(at)


def _seal(told: bytes) -> bytes:
    """Its number goes up, so that everything is judged anew, with each change of what is kept back."""
    return b"pifleet.folder/2 %08x\n" % zlib.crc32(told)


def _told(index: Index) -> dict[str, Any]:
    shape = index.shape
    return {"generation": index.generation, "count": shape.count,
            "layers": [(layer.place.decode("latin-1"), layer.kind, layer.oid) for layer in shape.layers],
            "kept": {path.decode("latin-1"): reason for path, reason in shape.kept.items()},
            "asides": {home.decode("latin-1"): aside.decode("latin-1") for home, aside in index.asides.items()},
            "large": {path.decode("latin-1"): facts.hex() for path, facts in index.large.items()}}


def _parsed(told: dict[str, Any]) -> Index:
    layers = tuple(Layer(place.encode("latin-1"), kind, oid) for place, kind, oid in told["layers"])
    kept = {path.encode("latin-1"): reason for path, reason in told["kept"].items()}
    asides = {home.encode("latin-1"): aside.encode("latin-1") for home, aside in told["asides"].items()}
    large = {path.encode("latin-1"): bytes.fromhex(facts) for path, facts in told["large"].items()}
    return Index(told["generation"], Shape(layers, kept, told["count"]), asides, large)
