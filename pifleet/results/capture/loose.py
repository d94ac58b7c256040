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
                    new[name] = (0 if changed > young else changed, list(_ids(objects, name, git)))
            except OSError:
                continue
        asked = "".join(f"{oid}\n" for _, oids in new.values() for oid in oids).encode()
        told = git("cat-file", "--batch-check", data=asked) if asked else b""
        commits = {line[:40].decode() for line in told.splitlines() if line.split()[1:2] == [b"commit"]}
        for name, (changed, oids) in new.items():
            now.places[name] = (changed, "".join(oid for oid in oids if oid in commits))
        return now


def _packs(objects: str) -> list[str]:
    try:
        return [f"pack/{name}" for name in sorted(os.listdir(os.path.join(objects, "pack"))) if name.endswith(".idx")]
    except OSError:
        return []


def _ids(objects: str, name: str, git: Git) -> list[str]:
    if name in _FOLDERS:
        return [name + rest for rest in os.listdir(os.path.join(objects, name)) if _NAME.fullmatch(rest)]
    with open(os.path.join(objects, name), "rb") as file:
        return [line.split()[1].decode() for line in git("show-index", data=file.read()).splitlines()]
