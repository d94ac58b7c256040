"""Owns which commits lie in a repository's own objects: where a dropped stash is, which nothing leads to any more.
It must not judge whether something leads to them. A folder or pack that has not changed is not read again."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

_NAME = re.compile(r"[0-9a-f]{38}")
_FOLDERS = [f"{number:02x}" for number in range(256)]
# A folder's time may be this coarse: what changed lately is read again next time.
_YOUNG_NS = 2_000_000_000
_ID = 20
_COMMIT = re.compile(rb"^commit (.{40})$", re.MULTILINE)
# A pack's index (gitformat-pack): magic, version, 256 numbers of which the last counts the ids, then these.
_VERSION_2 = b"\xfftOc\0\0\0\2"
_IDS_AT = 8 + 256 * 4

Git = Callable[..., bytes]


class Loose:
    """Per folder or pack: the time of its last change, and the commits in it.

    `lost` are the tips of what nothing led to when all was as `mark` says.
    """

    def __init__(self, told: dict[str, Any] | None = None) -> None:
        told = told or {"places": {}, "lost": [], "mark": ""}
        self.places: dict[str, tuple[int, str]] = {
            name: (int(seen[0]), str(seen[1])) for name, seen in told["places"].items()}
        self.lost: list[str] = list(told["lost"])
        self.mark = str(told["mark"])

    def told(self) -> dict[str, Any]:
        return {"places": self.places, "lost": self.lost, "mark": self.mark}

    @property
    def commits(self) -> list[str]:
        return [commits[at : at + 40] for _, commits in self.places.values() for at in range(0, len(commits), 40)]

    def again(self, objects: str, git: Git) -> Loose:
        """What is there now; `git` runs a command with `data` as its input."""
        now, new = Loose(), {}
        young = time.time_ns() - _YOUNG_NS
        for name in [*_FOLDERS, *_packs(objects)]:
            try:
                changed = os.stat(os.path.join(objects, name)).st_mtime_ns
                if self.places.get(name, (0,))[0] == changed:
                    now.places[name] = self.places[name]
                else:
                    new[name] = (0 if changed > young else changed, _ids(objects, name))
            except OSError:
                continue
        commits = self._commits([oids for _, oids in new.values()], git)
        for name, (changed, oids) in new.items():
            each = (oids[at : at + _ID] for at in range(0, len(oids), _ID))
            now.places[name] = (changed, "".join(oid.hex() for oid in each if oid in commits))
        return now

    def _commits(self, places: list[bytes], git: Git) -> set[bytes]:
        """Those of the ids that name commits; where all are new it is quicker to ask for all that there are."""
        check = ("cat-file", "--buffer", "--batch-check=%(objecttype) %(objectname)")
        if self.places:
            asked = b"".join(oids.hex("\n", _ID).encode() + b"\n" for oids in places if oids)
            told = git(*check, data=asked) if asked else b""
        else:
            told = git(*check, "--batch-all-objects", "--unordered")
        return {bytes.fromhex(oid.decode()) for oid in _COMMIT.findall(told)}


def _packs(objects: str) -> list[str]:
    try:
        return [f"pack/{name}" for name in sorted(os.listdir(os.path.join(objects, "pack"))) if name.endswith(".idx")]
    except OSError:
        return []


def _ids(objects: str, name: str) -> bytes:
    """The ids in a folder or pack, one after the other. Raises OSError."""
    if name in _FOLDERS:
        return b"".join(bytes.fromhex(name + rest) for rest in os.listdir(os.path.join(objects, name))
                        if _NAME.fullmatch(rest))
    with open(os.path.join(objects, name), "rb") as file:
        head = file.read(_IDS_AT)
        if head[:8] == _VERSION_2:
            return file.read(_ID * int.from_bytes(head[-4:], "big"))
        # Version 1: each id comes after its offset.
        rest = head[1024:] + file.read()
        return b"".join(rest[at + 4 : at + 4 + _ID] for at in range(0, len(rest) - 2 * _ID, 4 + _ID))
