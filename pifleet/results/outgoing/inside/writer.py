"""Owns writing stored files below one folder: no link is followed, nothing is overwritten, no name leads elsewhere.
It must not know what the files are."""

from __future__ import annotations

import contextlib
import os
import stat

from pifleet.results.capture.tool import Broken, names_git
from pifleet.results.outgoing.inside.content import GITLINK, LINK, PROGRAM, Content, Entry

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def name_problem(path: bytes) -> str:
    """Why nothing is written under a relative path, "" where it may be."""
    parts = path.split(b"/")
    if b".." in parts:
        return "path.traversal"
    if b"" in parts or b"." in parts or b"\0" in path:
        return "path.bad"
    return "path.git" if any(names_git(part) for part in parts) else ""


class Writer:
    """Writes below `root`, which is there; a context manager over the folders that it has open."""

    def __init__(self, root: bytes) -> None:
        self._open = [(b"", os.open(root, _FOLDER))]

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *raised: object) -> None:
        for _, descriptor in self._open:
            os.close(descriptor)

    def place(self, path: bytes) -> tuple[int, bytes]:
        """The open folder that a path lies in, made where it is lacking, and the last part of the path. Raises OSError
        where something that is no folder is in the way, Broken for a name that is not written."""
        if problem := name_problem(path):
            raise Broken(problem, "a name that is not written")
        *folders, name = path.split(b"/")
        while [part for part, _ in self._open[1:]] != folders[: len(self._open) - 1]:
            os.close(self._open.pop()[1])
        for part in folders[len(self._open) - 1 :]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=self._open[-1][1])
            self._open.append((part, os.open(part, _FOLDER, dir_fd=self._open[-1][1])))
        return self._open[-1][1], name

    def write(self, entry: Entry, content: Content) -> None:
        """Raises OSError where something is there already."""
        folder, name = self.place(entry.path)
        make(folder, name, entry, content)


def make(folder: int, name: bytes, entry: Entry, content: Content) -> None:
    """Make one file, link or submodule's place in an open folder. Raises OSError where something is there."""
    if entry.mode == GITLINK:
        os.mkdir(name, dir_fd=folder)
    elif entry.mode == LINK:
        os.symlink(b"".join(content.chunks(entry)), name, dir_fd=folder)
    else:
        with open(os.open(name, _NEW, 0o600, dir_fd=folder), "wb") as file:
            for chunk in content.chunks(entry):
                file.write(chunk)
            os.fchmod(file.fileno(), 0o755 if entry.mode == PROGRAM else 0o644)


def same(folder: int, name: bytes, entry: Entry, content: Content) -> bool:
    """Whether what is there is what would be written."""
    chunks = content.chunks(entry)
    try:
        if entry.mode == LINK:
            return os.readlink(name, dir_fd=folder) == b"".join(chunks)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=folder), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            alike = stat.S_ISREG(mode) and bool(mode & 0o100) == (entry.mode == PROGRAM)
            return alike and all(file.read(len(chunk)) == chunk for chunk in chunks) and not file.read(1)
    except OSError:
        return False
    finally:
        for _ in chunks:  # what was asked for must be read to its end
            pass


def there(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
