"""Owns which folders lie in a place, and which of them have to be looked into again.
It must not read a file. A folder whose own times are as before holds the same names, so it is not listed again.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from pifleet.results.capture.tool import Fatal

DEPTH = 128
_FACTS = struct.Struct("<qqQ")  # mtime and ctime in nanoseconds, inode
_UNKNOWN = b"\0" * _FACTS.size
_BARE = {b"HEAD", b"objects", b"refs"}
Big = tuple[bytes, int, int, bytes]  # path in the place, mode, size, tree of its blocks


class Folder:
    """`inner` are its folders, `seen` counts all in it; the rest is what a unit made of it with all below.

    `git` is b"g" where a .git lies in it, b"b" where it looks like a bare repository. A `noted` one holds something
    that cannot come along, and is looked into each time.
    """

    __slots__ = ("big", "bytes", "facts", "files", "git", "inner", "noted", "seen", "tree")

    def __init__(self, facts: bytes, inner: list[bytes], seen: int, git: bytes, tree: bytes = b"", files: int = 0,
                 size: int = 0, big: Iterable[Big] = (), *, noted: bool = False) -> None:
        self.facts, self.inner, self.seen, self.git = facts, inner, seen, git
        self.tree, self.files, self.bytes, self.big, self.noted = tree, files, size, list(big), noted


class Survey:
    """`folders` by path in the place (`root`), each after the one around it; `dirty` are to be looked into.

    `old` is what was remembered. Times beyond `young`, in nanoseconds, are not believed yet. More than `limit` files
    and folders are Fatal.
    """

    def __init__(self, root: bytes, old: dict[bytes, Folder], young: int, limit: int) -> None:
        self.root, self.old = root, old
        self.folders: dict[bytes, Folder] = {}
        self.listed: set[bytes] = set()
        self.dirty: set[bytes] = set()
        self._made: set[bytes] = set()
        self._young, self._limit, self._seen = young, limit, 0
        if os.path.isdir(root):
            self._visit(b"", 0)
        self.soil(path for path, folder in self.folders.items() if folder.noted)

    def full(self, path: bytes) -> bytes:
        return self.root + b"/" + path if path else self.root

    def at(self, path: bytes) -> Folder:
        """One of the folders; one that has just come is taken in."""
        if path not in self.folders:
            self._visit(path, path.count(b"/") + 1)
        return self.folders[path]

    def soil(self, paths: Iterable[bytes]) -> None:
        """These, and so all around them, have to be looked into."""
        for path in paths:
            while path not in self.dirty:
                self.dirty.add(path)
                path = path.rpartition(b"/")[0]

    def soil_below(self, top: bytes) -> None:
        """Whatever lies there, and the folder that holds it."""
        inside = top + b"/" if top else b""
        self.soil([top.rpartition(b"/")[0], *(path for path in self.folders if path == top or path.startswith(inside))])

    def looked(self, path: bytes, folder: Folder) -> None:
        """What a unit made of a dirty folder."""
        self.folders[path] = folder
        self._made.add(path)

    def kept(self) -> dict[bytes, Folder]:
        """What to remember: of a dirty folder that no unit looked into any more, only that it is there."""
        for path in self.dirty - self._made:
            if folder := self.folders.get(path):
                self.folders[path] = Folder(folder.facts, folder.inner, folder.seen, folder.git)
        return self.folders

    def _visit(self, path: bytes, depth: int) -> None:
        try:
            folder = self._looked(path)
        except OSError:  # the walk of the unit that holds it says so
            folder = Folder(_UNKNOWN, [], 0, b"")
        if folder is not self.old.get(path):
            self.listed.add(path)
            self.soil([path])
        self.folders[path] = folder
        self._seen += folder.seen
        if self._seen > self._limit:
            raise Fatal("limit.files", f"more than {self._limit} files in {os.fsdecode(self.root)}")
        if depth < DEPTH:
            for name in folder.inner:
                self._visit(path + b"/" + name if path else name, depth + 1)

    def _looked(self, path: bytes) -> Folder:
        full = self.full(path)
        seen = os.stat(full, follow_symlinks=not path)
        facts = _FACTS.pack(seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)
        old = self.old.get(path)
        if old is not None and old.facts == facts:
            return old
        names, inner = set(), []
        for child in os.scandir(full):
            names.add(child.name)
            if child.is_dir(follow_symlinks=False) and child.name != b".git":
                inner.append(child.name)
        if max(seen.st_mtime_ns, seen.st_ctime_ns) > self._young:
            facts = _UNKNOWN
        git = b"g" if b".git" in names else b"b" if names >= _BARE else b""
        return Folder(facts, sorted(inner), len(names), git)
