"""Owns how a big file is put together: from blocks of the store, and from those that the file before it here holds.
It must not decide what is written, and opens nothing."""

from __future__ import annotations

import errno
import os

from pifleet.results.limits import Refusal
from pifleet.results.store.contents import Contents, File

# Where a file system has no copy of its own (copy_file_range(2), "ERRORS"), the store has every block too.
_NO_COPY = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV)


def blocks(file: File, contents: Contents) -> list[tuple[str, int]]:
    """(id, bytes) of the blocks of a big file, in order. Raises Refusal git.connectivity."""
    parts = [File(path, mode, oid) for path, mode, oid in contents.objects.leaves(file.oid)]
    if any(part.link for part in parts):
        raise Refusal("git.connectivity", "a block of a file is none")
    sizes = contents.sizes(parts)
    return [(part.oid, sizes[part.oid]) for part in parts]


def put_together(file: File, descriptor: int, contents: Contents, old: File, source: int) -> None:
    """Write a big file to `descriptor`; `source` is open on `old`, whose blocks are copied inside the file system.

    A source that is cut short meanwhile leaves a file that is none of both: only what its facts prove unchanged counts.
    Raises OSError, Refusal git.connectivity.
    """
    there, at = {}, 0
    for oid, size in blocks(old, contents):
        there[oid] = at
        at += size
    for oid, size in blocks(file, contents):
        if oid not in there or not _copy(source, there[oid], size, descriptor):
            contents.copy_blob(oid, descriptor)


def _copy(source: int, at: int, size: int, descriptor: int) -> bool:
    """Whether the file system copies at all."""
    try:
        while size and (count := os.copy_file_range(source, descriptor, size, at)):
            at, size = at + count, size - count
    except OSError as error:
        if error.errno not in _NO_COPY:
            raise
        return False
    return True
