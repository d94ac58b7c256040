"""Owns which files the inventory's artifact patterns name: relative to the workspace, `**` for any number of folders.
It must not look at a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable


class Patterns:
    def __init__(self, workspace: bytes, patterns: Iterable[str]) -> None:
        listed = [os.fsencode(pattern) for pattern in patterns]
        self._prefix = workspace + b"/"
        self._whole = [re.compile(_translated(pattern), re.DOTALL) for pattern in listed]
        self._fixed = [re.split(rb"[*?\[]", pattern, maxsplit=1)[0] for pattern in listed]

    def match(self, full: bytes) -> bool:
        path = full[len(self._prefix) :]
        return any(pattern.fullmatch(path) for pattern in self._whole)

    def reach(self, folder: bytes) -> bool:
        """Whether a pattern may name something in this folder."""
        path = folder[len(self._prefix) :] + b"/"
        return any(fixed.startswith(path) or path.startswith(fixed) for fixed in self._fixed if fixed)


def _translated(pattern: bytes) -> bytes:
    words = {b"**/": rb"(?:[^/]+/)*", b"**": rb".+", b"*": rb"[^/]*", b"?": rb"[^/]"}
    return b"".join(words.get(part, re.escape(part)) for part in re.split(rb"(\*\*/|\*\*|\*|\?)", pattern))
