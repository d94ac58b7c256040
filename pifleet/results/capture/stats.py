"""Owns the form of git's index (gitformat-index, version 2), in which git compares a hundred thousand files in no time.
It must not know whose files these are. A record is the facts of one file, the letter of its kind and its id.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator

FACTS = struct.Struct("<qqqQII")  # size, mtime and ctime in nanoseconds, inode, user, group
UNKNOWN = b"\0" * FACTS.size
RECORD = FACTS.size + 21
# Those in capitals have an id that names a tree of blocks.
MODES = {b"l": 0o120000, b"f": 0o100644, b"x": 0o100755, b"F": 0o100644, b"X": 0o100755}
_STAT = struct.Struct(">10I")
_HEAD = struct.Struct(">4sII")
_FIXED = _STAT.size + 20
_WORD = 0xFFFFFFFF
_LONG = 0xFFF
_SECOND = 1_000_000_000


def facts_of(seen: os.stat_result) -> bytes:
    return FACTS.pack(seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_uid, seen.st_gid)


def size_in(facts: bytes) -> int:
    return int(FACTS.unpack(facts)[0])


def written(entries: Iterable[tuple[bytes, bytes]]) -> bytearray:
    """An index of these entries, (path, what `entry` or `parsed` gives) in the order of their paths."""
    data, count = bytearray(_HEAD.size), 0
    for path, fixed in entries:
        size = len(path)
        data += b"%b%c%c%b%b" % (fixed, *divmod(min(size, _LONG), 256), path, b"\0" * (8 - (_FIXED + 2 + size) % 8))
        count += 1
    _HEAD.pack_into(data, 0, b"DIRC", 2, count)
    data += hashlib.sha1(data).digest()  # noqa: S324 git's own
    return data


def entry(record: bytes) -> bytes:
    """What an index says of one file. Facts that are not known are never those of a file."""
    size, mtime, ctime, inode, user, group = FACTS.unpack_from(record)
    times = (*divmod(ctime, _SECOND), *divmod(mtime, _SECOND))
    mode = MODES[record[FACTS.size : FACTS.size + 1]]
    words = (*times, 0, inode, mode, user, group, size)
    return _STAT.pack(*[word & _WORD for word in words]) + record[-20:]


def parsed(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The entries of an index, (path, entry). Raises ValueError for what is not as it was written."""
    if not whole(data):
        raise ValueError("not an index")
    at = _HEAD.size
    for _ in range(_HEAD.unpack_from(data)[2]):
        end = data.index(b"\0", at + _FIXED + 2)
        yield data[at + _FIXED + 2 : end], data[at : at + _FIXED]
        at += (end - at + 8) & ~7


def whole(data: bytes) -> bool:
    return hashlib.sha1(data[:-20]).digest() == data[-20:]  # noqa: S324 git's own
