"""Owns which commits lie loose in an object folder: where a dropped stash is, which no ref or log leads to any more.
It must not judge whether something leads to them. A folder that has not changed is not read again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

_NAME = re.compile(r"[0-9a-f]{38}")
_FOLDERS = [f"{number:02x}" for number in range(256)]


class Loose:
    """Per folder of objects: the time of its last change, and the commits in it."""

    def __init__(self, folders: dict[str, Any] | None = None) -> None:
        self.folders: dict[str, tuple[int, list[str]]] = {
            name: (int(seen[0]), list(seen[1])) for name, seen in (folders or {}).items()}

    @property
    def commits(self) -> set[str]:
        return {oid for _, commits in self.folders.values() for oid in commits}

    def again(self, objects: bytes, types: Callable[[bytes], bytes]) -> Loose:
        """What is there now; `types` is git's `cat-file --batch-check` on ids, one a line."""
        now, new = Loose(), {}
        for name in _FOLDERS:
            folder = os.path.join(os.fsdecode(objects), name)
            try:
                changed = os.stat(folder).st_mtime_ns
                if self.folders.get(name, (0,))[0] == changed:
                    now.folders[name] = self.folders[name]
                else:
                    new[name] = (changed, [name + rest for rest in os.listdir(folder) if _NAME.fullmatch(rest)])
            except OSError:
                continue
        asked = "".join(f"{oid}\n" for _, oids in new.values() for oid in oids).encode()
        told = types(asked) if asked else b""
        commits = {line[:40].decode() for line in told.splitlines() if line.split()[1:2] == [b"commit"]}
        for name, (changed, oids) in new.items():
            now.folders[name] = (changed, [oid for oid in oids if oid in commits])
        return now
