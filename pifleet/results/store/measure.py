"""Owns how many paths trees have and how deep they are: nothing recurses on a tree that has not been measured.
It must not judge anything but trees; what it remembers of an id stays true of that id for ever."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pifleet.results.limits import Limits, Refusal
from pifleet.results.store.trees import TREE_MODE, Objects

Size = tuple[int, int]  # paths; folders below one another
Sizes = dict[str, Size]  # by the id of the tree


class Measured:
    """The sizes of the trees that landed, in one file; a context manager.

    One that is lost or damaged costs reading its trees again.
    """

    def __init__(self, at: Path) -> None:
        self._at = at
        self._base: sqlite3.Connection | None = None

    def __enter__(self) -> Measured:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._base:
            self._base.close()
            self._base = None

    def get(self, tree: str) -> Size | None:
        try:
            found = self._opened().execute("SELECT paths, depth FROM measured WHERE tree = ?", (bytes.fromhex(tree),))
            size: Size | None = found.fetchone()
        except sqlite3.Error:
            self._forget()
            return None
        return size

    def keep(self, sizes: Sizes) -> None:
        """Remember these too; whatever stands in the way of that is no reason to call a pull failed."""
        rows = [(bytes.fromhex(tree), *size) for tree, size in sizes.items()]
        try:
            with self._opened() as base:
                base.executemany("INSERT OR IGNORE INTO measured VALUES (?, ?, ?)", rows)
        except sqlite3.Error:
            self._forget()

    def _forget(self) -> None:
        self.__exit__()
        self._at.unlink(missing_ok=True)

    def _opened(self) -> sqlite3.Connection:
        if self._base is None:
            self._base = sqlite3.connect(self._at)
            self._base.execute("CREATE TABLE IF NOT EXISTS measured "
                               "(tree BLOB PRIMARY KEY, paths INTEGER, depth INTEGER) WITHOUT ROWID")
        return self._base


class Measure:
    """Each distinct tree is read once, and none that is remembered: a tree that repeats itself 10^10 times is counted
    as fast as it was sent. `new` are the sizes that were not remembered."""

    def __init__(self, objects: Objects, limits: Limits, known: Measured) -> None:
        self._objects, self._limits, self._known = objects, limits, known
        self.new: Sizes = {}

    def check(self, name: str) -> None:
        """Raises Refusal where a tree, or the tree of a commit, has too many paths or levels: limit.paths, limit.depth.
        """
        self._measure(self._objects.tree_id(name), 0)

    def _measure(self, tree: str, depth: int) -> Size:
        if depth > self._limits.depth:
            raise self._too_deep()
        paths, levels = size = self.new.get(tree) or self._known.get(tree) or self._read(tree, depth)
        if paths > self._limits.files:
            raise Refusal("limit.paths", f"more than {self._limits.files} paths in one tree")
        if depth + levels > self._limits.depth:
            raise self._too_deep()
        return size

    def _read(self, tree: str, depth: int) -> Size:
        paths = levels = 0
        for mode, _, oid in self._objects.tree(tree)[1]:
            below = self._measure(oid, depth + 1) if mode == TREE_MODE else (1, 0)
            paths, levels = paths + below[0], max(levels, below[1] + 1)
        self.new[tree] = paths, levels
        return paths, levels

    def _too_deep(self) -> Refusal:
        return Refusal("limit.depth", f"folders nested more than {self._limits.depth} deep")
