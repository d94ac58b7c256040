"""Owns putting one file into a plain folder: made whole beside its place, then moved there in one step.
It must not decide what is written, and goes into no other folder than the one that it is given."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from pifleet.results.plain.blocks import put_together
from pifleet.results.plain.disk import READ, look
from pifleet.results.plain.index import UNKNOWN, facts_of
from pifleet.results.store.contents import Contents, File

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def put(folder: int, name: bytes, file: File, contents: Contents, *, temporary: bytes, mode: int,
        over: os.stat_result | None, old: File | None = None) -> bytes | None:
    """Let a whole file, with the permissions `mode`, take the place of what was seen (`over`), or of nothing.

    What was seen may be `old`, known to be there byte for byte: then a big file takes from it what is the same.
    Returns the facts by which it is known again, or None where something else lies there by now; then that stays.
    """
    try:
        with _source(folder, name, over, file, old) as source:
            made = make(folder, temporary, file, contents, mode, source)
        now = look(folder, name)
        if (now and facts_of(now)) != (over and facts_of(over)):
            os.unlink(temporary, dir_fd=folder)
            return None
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise
    placed = os.lstat(name, dir_fd=folder)
    same = (made.st_ino, made.st_size, made.st_mtime_ns) == (placed.st_ino, placed.st_size, placed.st_mtime_ns)
    return facts_of(placed) if same else UNKNOWN


@contextlib.contextmanager
def _source(folder: int, name: bytes, over: os.stat_result | None, file: File, old: File | None,
            ) -> Iterator[tuple[File, int] | None]:
    """The big file that another takes the place of, open as long as it is what was seen; else None."""
    if not (over and old and old.blocks and file.blocks):
        yield None
        return
    try:
        descriptor = os.open(name, READ, dir_fd=folder)
    except OSError:  # gone or changed by now, which is told when the new one is whole
        yield None
        return
    try:
        yield (old, descriptor) if facts_of(os.fstat(descriptor)) == facts_of(over) else None
    finally:
        os.close(descriptor)


def make(folder: int, name: bytes, file: File, contents: Contents, mode: int, source: tuple[File, int] | None = None,
         ) -> os.stat_result:
    """Make a file or link where nothing is, with the permissions `mode`; returns its facts."""
    if file.link:
        os.symlink(contents.target(file), name, dir_fd=folder)
        return os.lstat(name, dir_fd=folder)
    descriptor = os.open(name, _NEW, mode, dir_fd=folder)
    try:
        if source:
            put_together(file, descriptor, contents, *source)
        else:
            contents.copy(file, descriptor)
        made = os.fstat(descriptor)
        if stat.S_IMODE(made.st_mode) == mode:
            return made
        os.fchmod(descriptor, mode)  # the umask took something away
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)
