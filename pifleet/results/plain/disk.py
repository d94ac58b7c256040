"""Owns every look at and every step in a plain folder: by folders that are held open, and through no link.
It must not write a file, nor decide what is written or removed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import stat
from typing import IO

from pifleet.results.limits import Refusal
from pifleet.results.names import shown
from pifleet.results.plain.blocks import blocks
from pifleet.results.store.contents import Contents, File
from pifleet.results.store.trees import EXECUTABLE_MODE

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20


class Blocked(NotADirectoryError):
    """At `path`, where a folder should be, is something else."""

    def __init__(self, path: bytes) -> None:
        super().__init__(errno.ENOTDIR, os.strerror(errno.ENOTDIR), shown(path))
        self.path = path


class Walk:
    """Goes from folder to folder below `top`, a descriptor that it takes over; a context manager."""

    def __init__(self, top: int) -> None:
        self._open: list[tuple[bytes, int]] = [(b"", top)]

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *raised: object) -> None:
        for _, descriptor in self._open:
            os.close(descriptor)

    def to(self, folder: bytes, *, make: bool = False) -> int:
        """The descriptor of a folder, good until the next step. Raises FileNotFoundError, Blocked."""
        parts = folder.split(b"/") if folder else []
        while [part for part, _ in self._open[1:]] != parts[: len(self._open) - 1]:
            os.close(self._open.pop()[1])
        for at in range(len(self._open), len(parts) + 1):
            self._open.append((parts[at - 1], self._enter(b"/".join(parts[:at]), make)))
        return self._open[-1][1]

    def _enter(self, path: bytes, make: bool) -> int:
        here, name = self._open[-1][1], path.rpartition(b"/")[2]
        try:
            return os.open(name, FOLDER, dir_fd=here)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise Blocked(path) from None
            raise
        os.mkdir(name, 0o755, dir_fd=here)
        descriptor = os.open(name, FOLDER, dir_fd=here)
        os.fchmod(descriptor, 0o755)
        return descriptor

    def missing(self, folder: bytes) -> bytes:
        """The outermost folder on the way to this one that is not there; "" where all are. Raises Blocked."""
        try:
            self.to(folder)
        except FileNotFoundError:
            return b"/".join(folder.split(b"/")[: len(self._open)])
        return b""

    def prune(self, folder: bytes) -> None:
        """Remove a folder, and those around it, as far as nothing is in them."""
        with contextlib.suppress(OSError):
            while folder:
                outer, _, name = folder.rpartition(b"/")
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(name, dir_fd=self.to(outer))
                folder = outer


def remove(folder: int, name: bytes) -> None:
    """Remove a file, a link, or a folder with all that is in it. Raises OSError."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        shutil.rmtree(name, dir_fd=folder)


def empty(folder: int) -> bool:
    with os.scandir(folder) as entries:
        return not any(entries)


def look(folder: int, name: bytes) -> os.stat_result | None:
    """The facts of what lies there; None where nothing does."""
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None


def holds(folder: int, name: bytes, file: File, contents: Contents) -> bool:
    """Whether what lies there is, byte for byte, this file or link; its mode does not matter."""
    seen = os.lstat(name, dir_fd=folder)
    if file.link:
        if not stat.S_ISLNK(seen.st_mode):
            return False
        return blob_id(os.readlink(name, dir_fd=folder)) == file.oid
    if not stat.S_ISREG(seen.st_mode):
        return False
    try:
        blobs = blocks(file, contents) if file.blocks else [(file.oid, seen.st_size)]
        if sum(size for _, size in blobs) != seen.st_size:
            return False
        with os.fdopen(os.open(name, READ, dir_fd=folder), "rb") as opened:
            return all(_next_id(opened, size) == oid for oid, size in blobs) and not opened.read(1)
    except (Refusal, PermissionError):  # no more in the store, or not ours to read: it cannot be told
        return False


def blob_id(data: bytes) -> str:
    """The id under which git keeps these bytes."""
    return _next_id(io.BytesIO(data), len(data))


def _next_id(source: IO[bytes], size: int) -> str:
    """The id that git gives to the next `size` bytes."""
    digest = hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 git's own
    while size and (data := source.read(min(size, _CHUNK))):
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()


def permissions(file: File) -> int:
    return 0o755 if file.mode == EXECUTABLE_MODE else 0o644
