"""Owns what a capture remembers for the next one: which folder and file had which facts and ids, in which state.
It must not be believed by anybody outside: home names the state that it holds, and only an equal one counts as known.

A memory is a folder in the sandbox user's own cache under the name of its state. One that is lost or of another form
costs time and bytes, never work.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
from typing import Any

from pifleet.results.capture.keeping import folders_in, folders_kept, records_in, records_kept, split
from pifleet.results.capture.loose import Loose
from pifleet.results.capture.place import Place, PlaceMemory
from pifleet.results.capture.stats import FACTS, whole

FORM = 4
KEPT = 3
_MAIN = "memory"
_IN_TREE = re.compile(rb"\d+ [^\0]+\0(.{20})", re.DOTALL)
_BROKEN = (OSError, ValueError, KeyError, TypeError, struct.error)


class UnitMemory:
    """One unit: records of the files that are not in its snapshot, trees, blocks by file, commits, loose objects.

    `ignored` and `unshown` (path -> mode and id) are what its folders were looked into with; `repository` is what its
    git directory told.
    """

    def __init__(self) -> None:
        self.state = self.head_tree = ""
        self.files: dict[bytes, bytes] = {}  # part and path -> record
        self.trees: set[bytes] = set()
        self.blocks: dict[bytes, bytes] = {}  # id of the tree of a file's blocks -> their ids
        self.commits: list[str] = []
        self.ignored: set[bytes] = set()
        self.unshown: dict[bytes, tuple[int, bytes]] = {}
        self.repository: dict[str, Any] = {}
        self.loose = Loose()

    def put(self, key: bytes, facts: bytes, kind: bytes, oid: bytes) -> None:
        self.files[key] = facts + kind + oid

    def get(self, key: bytes, facts: bytes) -> tuple[bytes, bytes] | None:
        """(kind, id) of a file that has not changed since."""
        record = self.files.get(key)
        if record is None or record[: FACTS.size] != facts:
            return None
        return record[FACTS.size : FACTS.size + 1], record[-20:]

    def told(self) -> dict[str, Any]:
        return {"state": self.state, "head_tree": self.head_tree, "commits": self.commits, "loose": self.loose.told(),
                "trees": b"".join(sorted(self.trees)).hex(), "files": len(self.files),
                "blocks": {oid.hex(): blocks.hex() for oid, blocks in self.blocks.items()},
                "repository": self.repository, "ignored": [path.decode("latin-1") for path in sorted(self.ignored)],
                "unshown": [(path.decode("latin-1"), mode, oid.hex()) for path, (mode, oid) in self.unshown.items()]}

    @classmethod
    def of(cls, told: dict[str, Any], files: dict[bytes, bytes]) -> UnitMemory:
        self = cls()
        self.state, self.head_tree, self.commits = told["state"], told["head_tree"], list(told["commits"])
        self.loose, self.files, self.trees = Loose(told["loose"]), files, set(split(bytes.fromhex(told["trees"]), 20))
        self.blocks = {bytes.fromhex(oid): bytes.fromhex(blocks) for oid, blocks in told["blocks"].items()}
        self.repository, self.ignored = told["repository"], {path.encode("latin-1") for path in told["ignored"]}
        self.unshown = {path.encode("latin-1"): (mode, bytes.fromhex(oid)) for path, mode, oid in told["unshown"]}
        return self


class Memory:
    """All units by key, places by name, and the folders of the repositories; `known`: home holds just this state."""

    def __init__(self) -> None:
        self.units: dict[str, UnitMemory] = {}
        self.places: dict[str, PlaceMemory] = {}
        self.apart: set[bytes] = set()
        self.known = False
        self._held: set[bytes] | None = None

    @property
    def held(self) -> set[bytes]:
        """Ids of all files, blocks and folders of this state, commits and their histories left out."""
        if self._held is None:
            self._held = set()
            for place in self.places.values():
                trees = [folder.tree for folder in place.folders.values()]
                self._held.update(_IN_TREE.findall(b"".join(trees)))
            for unit in self.units.values():
                self._held.update(unit.trees, (record[-20:] for record in unit.files.values()))
                for blocks in unit.blocks.values():
                    self._held.update(split(blocks, 20))
        return self._held

    @classmethod
    def load(cls, folder: str, state: str) -> Memory:
        """That of `state`, else the newest one, else an empty one."""
        own = os.path.join(folder, state)
        known = bool(state) and os.path.isdir(own)
        others = [] if known else sorted(_memories(folder), key=os.path.getmtime)
        for path in [own] if known else others[-1:]:
            with contextlib.suppress(*_BROKEN):
                self = _read(path)
                self.known = known
                return self
        return cls()

    def save(self, folder: str, state: str, places: dict[str, Place]) -> None:
        """Keep this one and the few newest others; a folder that cannot be written keeps none."""
        new = ""
        with contextlib.suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            new = tempfile.mkdtemp(prefix=".new-", dir=folder)
            parts = [b"", *(part for unit in self.units.values() for part in records_kept(unit.files))]
            head: dict[str, Any] = {"form": FORM, "apart": [path.decode("latin-1") for path in sorted(self.apart)],
                                    "units": {key: unit.told() for key, unit in self.units.items()}, "places": {}}
            for name, place in places.items():
                index, records, content = place.watch.kept(place.survey)
                _keep(os.path.join(new, name), index, content)
                folders = place.survey.kept()
                head["places"][name] = [len(folders), len(records), bool(index or content)]
                parts += [*folders_kept(folders), *records_kept(records)]
            parts[0] = json.dumps(head).encode() + b"\n"
            data = b"".join(parts)
            with open(os.path.join(new, _MAIN), "wb") as file:
                file.write(data + hashlib.sha1(data).digest())  # noqa: S324 against damage only
            _remove(os.path.join(folder, state))
            os.rename(new, os.path.join(folder, state))
            for path in sorted(_memories(folder), key=os.path.getmtime)[:-KEPT]:
                _remove(path)
            return
        shutil.rmtree(new, ignore_errors=True)


def _memories(folder: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder) if len(entry.name) == 64 or entry.name.startswith(".new-")]
    except OSError:
        return []


def _remove(path: str) -> None:
    """A memory; one of an older form is a file."""
    with contextlib.suppress(OSError):
        os.unlink(path)
    shutil.rmtree(path, ignore_errors=True)


def _keep(path: str, index: bytes, content: bytes | bytearray) -> None:
    """Indexes are never written to, so two memories may share one."""
    if content:
        with open(path, "wb") as file:
            file.write(content)
    elif index:
        try:
            os.link(index, path)
        except OSError:
            shutil.copyfile(index, path)


def _read(path: str) -> Memory:
    with open(os.path.join(path, _MAIN), "rb") as file:
        data = file.read()
    at = data.index(b"\n") + 1
    head = json.loads(data[:at])
    if not whole(data) or head["form"] != FORM:
        raise ValueError(path)
    memory = Memory()
    memory.apart = {folder.encode("latin-1") for folder in head["apart"]}
    for key, told in head["units"].items():
        files, at = records_in(data, at, told["files"])
        memory.units[key] = UnitMemory.of(told, files)
    for name, (folders, records, compared) in head["places"].items():
        place = memory.places[name] = PlaceMemory()
        place.folders, at = folders_in(data, at, folders)
        place.records, at = records_in(data, at, records)
        if compared:
            index = os.path.join(path, name)
            place.index = os.fsencode(index)
            with open(index, "rb") as file:
                if not whole(file.read()):
                    raise ValueError(index)
    return memory
