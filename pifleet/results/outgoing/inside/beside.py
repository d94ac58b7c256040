"""Owns putting stored files into a folder that lives: what is there stays, and a stored file that differs comes beside.
It must not touch a repository, or end with half a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection

from pifleet.results.capture.tool import Broken
from pifleet.results.outgoing.inside.content import GITLINK, Content, Entry
from pifleet.results.outgoing.inside.writer import Writer, make, same, there

_NEW = b".pifleet-back-new"
_ATTEMPTS = 100


class Beside:
    """`force` puts the stored file into the place and what was there beside it."""

    def __init__(self, root: bytes, repositories: Collection[bytes], generation: int, *, force: bool) -> None:
        self._root, self._force = root, force
        self._apart = {os.path.relpath(folder, root) for folder in repositories}
        self._suffix = b".before-generation-%d" % generation if force else b".generation-%d" % generation
        self.written = 0
        self.kept: list[tuple[bytes, str]] = []  # where something else was, and what became of it

    def put(self, entries: list[Entry], content: Content) -> None:
        """Raises OSError when the disk is full or the like."""
        os.makedirs(self._root, exist_ok=True)
        with Writer(self._root) as writer:
            for entry in entries:
                if entry.mode == GITLINK:
                    continue
                if any(entry.path.startswith(folder + b"/") for folder in self._apart):
                    self.kept.append((entry.path, "not written, a repository is there now"))
                    continue
                try:
                    self._put(*writer.place(entry.path), entry, content)
                except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
                    self.kept.append((entry.path, f"not written, {(error.strerror or '').lower()}"))
                except Broken as error:
                    self.kept.append((entry.path, error.reason))

    def _put(self, folder: int, name: bytes, entry: Entry, content: Content) -> None:
        if not there(folder, name):
            return self._write(folder, name, entry, content)
        if same(folder, name, entry, content):
            return None
        for number in range(1, _ATTEMPTS):
            other = name + self._suffix + (b"-%d" % number if number > 1 else b"")
            if not there(folder, other):
                break
            if not self._force and same(folder, other, entry, content):
                return None
        if self._force:
            os.rename(name, other, src_dir_fd=folder, dst_dir_fd=folder)
            self._write(folder, name, entry, content)
            self.kept.append((entry.path, f"what was there is now {os.fsdecode(other)}"))
        else:
            self._write(folder, other, entry, content)
            self.kept.append((entry.path, f"left as it is, the stored one is {os.fsdecode(other)}"))
        return None

    def _write(self, folder: int, name: bytes, entry: Entry, content: Content) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=folder)
        make(folder, _NEW, entry, content)
        os.rename(_NEW, name, src_dir_fd=folder, dst_dir_fd=folder)
        self.written += 1
