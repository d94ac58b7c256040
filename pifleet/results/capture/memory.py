"""Owns what a capture remembers for the next one: which file had which facts and id, and in which state that was sent.
It must not be believed by anybody outside: home names the state that it holds, and only an equal one counts as known.

A memory lies in the sandbox user's own cache folder under the name of its state. One that is lost or of another form
costs time and bytes, never work.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
import zlib
from typing import Any

from pifleet.results.capture.loose import Loose

FORM = 2
KEPT = 3
_FACTS = struct.Struct("<qqqQ")  # size, mtime and ctime in nanoseconds, inode
_RECORD = _FACTS.size + 21


def facts_of(seen: os.stat_result) -> bytes:
    return _FACTS.pack(seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)


def size_in(facts: bytes) -> int:
    return int(_FACTS.unpack(facts)[0])


class UnitMemory:
    """One unit: a record (facts, kind, id) for each file, ids of trees, blocks by file, commits, loose objects.

    Kinds are `l` link, `f` file, `x` executable, and `F`, `X` for those whose id names a tree of blocks.
    """

    def __init__(self) -> None:
        self.state = ""
        self.files: dict[bytes, bytes] = {}  # part and path -> record
        self.trees: set[bytes] = set()
        self.blocks: dict[bytes, bytes] = {}  # id of the tree of a file's blocks -> their ids
        self.commits: list[str] = []
        self.loose = Loose()
        self._oids: set[bytes] | None = None

    def put(self, key: bytes, facts: bytes, kind: bytes, oid: bytes) -> None:
        self.files[key] = facts + kind + oid

    def get(self, key: bytes, facts: bytes) -> tuple[bytes, bytes] | None:
        """(kind, id) of a file that has not changed since."""
        record = self.files.get(key)
        if record is None or record[: _FACTS.size] != facts:
            return None
        return record[_FACTS.size : _FACTS.size + 1], record[-20:]

    def holds(self, oid: bytes) -> bool:
        """Whether a file or a block of this id was sent."""
        if self._oids is None:
            self._oids = {record[-20:] for record in self.files.values()}
            for blocks in self.blocks.values():
                self._oids |= {blocks[at : at + 20] for at in range(0, len(blocks), 20)}
        return oid in self._oids

    def head(self) -> dict[str, Any]:
        return {"state": self.state, "commits": self.commits, "loose": self.loose.told(),
                "trees": b"".join(sorted(self.trees)).hex(), "files": len(self.files),
                "blocks": {oid.hex(): blocks.hex() for oid, blocks in self.blocks.items()}}

    @classmethod
    def read(cls, head: dict[str, Any], paths: list[bytes], records: bytes) -> UnitMemory:
        self = cls()
        self.state, self.commits, self.loose = head["state"], list(head["commits"]), Loose(head["loose"])
        trees = bytes.fromhex(head["trees"])
        self.trees = {trees[at : at + 20] for at in range(0, len(trees), 20)}
        self.blocks = {bytes.fromhex(oid): bytes.fromhex(blocks) for oid, blocks in head["blocks"].items()}
        self.files = {path: records[at * _RECORD : (at + 1) * _RECORD] for at, path in enumerate(paths)}
        return self


class Memory:
    """All units by key; `known` says that home holds just this state."""

    def __init__(self) -> None:
        self.units: dict[str, UnitMemory] = {}
        self.known = False

    @classmethod
    def load(cls, folder: str, state: str) -> Memory:
        """That of `state`, else the newest one, else an empty one."""
        self = cls()
        own = os.path.join(folder, state)
        self.known = bool(state) and os.path.isfile(own)
        others = [] if self.known else sorted(_memories(folder), key=os.path.getmtime)
        for path in [own] if self.known else others[-1:]:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, zlib.error, struct.error):
                with open(path, "rb") as file:
                    self.units = _parsed(file.read())
                return self
        self.known = False
        return self

    def save(self, folder: str, state: str) -> None:
        """Keep this one and the few newest others; a folder that cannot be written keeps none."""
        with contextlib.suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".new-", delete=False) as file:
                file.write(_written(self.units))
            os.replace(file.name, os.path.join(folder, state))
            for path in sorted(_memories(folder), key=os.path.getmtime)[:-KEPT]:
                os.unlink(path)


def _memories(folder: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder) if len(entry.name) == 64 or entry.name.startswith(".new-")]
    except OSError:
        return []


def _written(units: dict[str, UnitMemory]) -> bytes:
    head = json.dumps({"form": FORM, "units": {key: unit.head() for key, unit in units.items()}}).encode()
    parts = [head, b"\n"]
    for unit in units.values():
        paths = b"\0".join(unit.files)
        parts += [struct.pack("<Q", len(paths)), paths, *unit.files.values()]
    return zlib.compress(b"".join(parts), 1)


def _parsed(data: bytes) -> dict[str, UnitMemory]:
    data = zlib.decompress(data)
    at = data.index(b"\n") + 1
    head = json.loads(data[:at])
    units: dict[str, UnitMemory] = {}
    for key, told in head["units"].items() if head["form"] == FORM else ():
        size = struct.unpack_from("<Q", data, at)[0]
        paths = data[at + 8 : at + 8 + size].split(b"\0") if size else []
        at += 8 + size
        end = at + told["files"] * _RECORD
        if len(paths) != told["files"] or end > len(data):
            raise ValueError(key)
        units[key] = UnitMemory.read(told, paths, data[at:end])
        at = end
    return units
