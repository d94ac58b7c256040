"""Owns turning stored trees into plain files: decided as a whole first, then written without following any link.
It must not know git's refs, generations or receipts, and never touches a folder that exists."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import link_problem, path_problem, shown
from pifleet.results.store.trees import EXECUTABLE_MODE, LINK_MODE, Leaf, Objects

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TARGET_BYTES = 4096


@dataclass(frozen=True)
class Kept:
    """An entry that stays in the store and is not written: its path and the reason."""

    path: str
    reason: str


class Plan:
    """Every file of one folder-to-be. Raises Refusal name.conflict as soon as two entries cannot both be."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.kept: list[Kept] = []
        self._leaves: dict[bytes, tuple[int, str, bytes]] = {}  # path -> mode, id, target of a link
        self._folders: set[bytes] = set()

    @property
    def blobs(self) -> list[str]:
        return [oid for _, oid, _ in self._leaves.values()]

    def add(self, folder: bytes, leaves: Iterable[Leaf], objects: Objects) -> None:
        """The entries of one tree, below `folder`; what has a dangerous name or points out of the tree is kept back."""
        for path, mode, oid in leaves:
            target = (objects.blob(oid, _TARGET_BYTES) or b"") if mode == LINK_MODE else b""
            if len(self._leaves) + len(self.kept) >= self._limits.files:
                raise Refusal("limit.files", f"more than {self._limits.files} files")
            reason = path_problem(path, self._limits) or (link_problem(path, target) if mode == LINK_MODE else "")
            if reason:
                self.kept.append(Kept(shown(folder + b"/" + path), reason))
            else:
                self._claim(folder + b"/" + path, mode, oid, target)

    def _claim(self, path: bytes, mode: int, oid: str, target: bytes) -> None:
        at = path.find(b"/")
        while at >= 0:
            if path[:at] in self._leaves:
                raise Refusal("name.conflict", f"{shown(path[:at])} is both a file and a folder", shown(path))
            self._folders.add(path[:at])
            at = path.find(b"/", at + 1)
        if path in self._leaves or path in self._folders:
            raise Refusal("name.conflict", f"{shown(path)} is there twice", shown(path))
        self._leaves[path] = (mode, oid, target)

    def disarm(self) -> None:
        """Leave out the HEAD of every folder that git would take for a repository, obeying its configuration."""
        marks: dict[bytes, set[bytes]] = {}
        for path in (*self._leaves, *self._folders):
            folder, _, name = path.rpartition(b"/")
            if name.lower() in (b"objects", b"refs", b"commondir"):
                marks.setdefault(folder, set()).add(name.lower())
        armed = {folder for folder, names in marks.items() if b"commondir" in names or len(names) == 2}
        for path in [path for path in self._leaves if path.rpartition(b"/")[2].lower() == b"head"]:
            if path.rpartition(b"/")[0] in armed:
                del self._leaves[path]
                self.kept.append(Kept(shown(path), "path.repository"))

    def write(self, folder: Path, objects: Objects) -> None:
        """Make `folder`, which must not exist. Entries are sorted, so each directory is made and opened only once."""
        folder.mkdir(mode=0o700)
        stack = [(b"", os.open(folder, _FOLDER))]
        try:
            for path, (mode, oid, target) in sorted(self._leaves.items(), key=lambda item: item[0].split(b"/")):
                *folders, name = path.split(b"/")
                while [part for part, _ in stack[1:]] != folders[: len(stack) - 1]:
                    os.close(stack.pop()[1])
                for part in folders[len(stack) - 1 :]:
                    os.mkdir(part, 0o755, dir_fd=stack[-1][1])
                    stack.append((part, os.open(part, _FOLDER, dir_fd=stack[-1][1])))
                    os.fchmod(stack[-1][1], 0o755)
                _write_leaf(stack[-1][1], name, mode, oid, target, objects)
        finally:
            for _, descriptor in stack:
                os.close(descriptor)


def _write_leaf(folder: int, name: bytes, mode: int, oid: str, target: bytes, objects: Objects) -> None:
    if mode == LINK_MODE:
        os.symlink(target, name, dir_fd=folder)
        return
    descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
    try:
        objects.copy(oid, descriptor)
        os.fchmod(descriptor, 0o755 if mode == EXECUTABLE_MODE else 0o644)
    finally:
        os.close(descriptor)
