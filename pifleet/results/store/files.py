"""Owns packs that hold nothing but files: taken in without git, and read again where they were put.
It must not know whose files they are. A file is bytes and its id; all that git could find wrong in one is told here.

The forms are git's (gitformat-pack); that of bytes which do not get smaller is "stored" (RFC 1951, 3.2.4).
Other than git it looks for no collision of SHA-1: a sandbox that paid for one confuses two files of its own answer, and
none that home holds.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from pifleet.results.capture.packs import FILE, KINDS
from pifleet.results.limits import Limits, Refusal

_HEAD, _TRAILER = 12, 20
_STORED = b"\x78\x01"
# Bytes that are written at once: 8 MB in one go cost a kernel with large folios up to five times as much (Linux 6.18).
_CHUNK = 1 << 20


class Piece(NamedTuple):
    """A file in a pack: from `begin` to `end` with its head, deflated from `data` on; `size` is that of its bytes."""

    oid: bytes
    begin: int
    data: int
    end: int
    size: int


class Files:
    """Takes packs into a quarantine; what came is read in `home`, where they are moved to.

    `there` tells which of some ids home holds: what it holds keeps its bytes, whatever is sent under its id.
    """

    def __init__(self, quarantine: Path, home: Path, limits: Limits, there: Callable[[list[str]], Collection[str]],
                 ) -> None:
        self._quarantine, self._home, self._limits, self._there = quarantine, home, limits, there
        self._pieces: dict[str, tuple[str, Piece]] = {}
        self._name, self._pack = "", -1

    def take(self, pack: memoryview) -> None:
        """One whole pack. Raises Refusal git.fsck, limit.unpacked; OSError."""
        pieces = list(_pieces(pack, max(self._limits.ratio_from, self._limits.ratio * len(pack))))
        if hashlib.sha1(pack[:-_TRAILER]).digest() != pack[-_TRAILER:]:  # noqa: S324 git's own
            raise _bad("its digest differs")
        there = set(self._there([piece.oid.hex() for piece in pieces]))
        if there:
            pack, pieces = _without(pack, [piece for piece in pieces if piece.oid.hex() not in there])
        new = {piece.oid.hex(): piece for piece in pieces}
        if len(new) < len(pieces) or not self._pieces.keys().isdisjoint(new):
            raise _bad("a file comes twice")
        if new:
            name = f"pack-{pack[-_TRAILER:].hex()}"
            _put(self._quarantine / f"{name}.pack", [pack])
            _put(self._quarantine / f"{name}.idx", _index(pack, pieces))
            self._pieces |= {oid: (name, piece) for oid, piece in new.items()}

    def size(self, oid: str) -> int | None:
        """Bytes of a file that came; None for any other."""
        found = self._pieces.get(oid)
        return found[1].size if found else None

    def read(self, oid: str) -> list[memoryview] | None:
        """The bytes of a file that came, in parts; None for any other, or where its pack became one with others.

        They were told right when they came, and nobody has written there since.
        """
        name, piece = self._pieces.get(oid, ("", None))
        if piece is None:
            return None
        if name != self._name:
            self.close()
            try:
                self._pack = os.open(self._home / f"{name}.pack", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # it became one with others
                return None
            self._name = name
        data = memoryview(os.pread(self._pack, piece.end - piece.data, piece.data))
        parts = _wrapped(data, piece.size)
        return parts or [memoryview(zlib.decompress(data, bufsize=piece.size or 1))]

    def close(self) -> None:
        if self._name:
            os.close(self._pack)
            self._name = ""


def _bad(why: str) -> Refusal:
    return Refusal("git.fsck", f"a pack of files is not as agreed: {why}")


def _pieces(pack: memoryview, most: int) -> Iterator[Piece]:
    """Every file of a pack, inflated and hashed. Raises Refusal; limit.unpacked where it is more than `most` bytes."""
    end, at = len(pack) - _TRAILER, _HEAD
    if end < _HEAD or bytes(pack[:8]) != b"PACK\0\0\0\2":
        raise _bad("its head")
    for _ in range(int.from_bytes(pack[8:_HEAD], "big")):
        begin, (kind, size, at) = at, _head(pack, at, end)
        most -= size
        if kind != KINDS["blob"] or size > FILE:
            raise _bad("something else is in it")
        if most < 0:
            raise Refusal("limit.unpacked", "more bytes of files than a pack of this size may hold")
        parts, taken = _content(pack[at : min(end, at + size + (size >> 8) + 64)], size)
        digest = hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 git's own
        for part in parts:
            digest.update(part)
        yield Piece(digest.digest(), begin, at, at + taken, size)
        at += taken
    if at != end:
        raise _bad("bytes after its last file")


def _head(pack: memoryview, at: int, end: int) -> tuple[int, int, int]:
    """(kind, size, where the data begins) of what lies at `at`."""
    shift, byte = 4, 128
    kind = size = 0
    for place in range(at, min(end, at + 8)):
        byte = pack[place]
        if place == at:
            kind, size = byte >> 4 & 7, byte & 15
        else:
            size |= (byte & 127) << shift
            shift += 7
        if byte < 128:
            return kind, size, place + 1
    raise _bad("a head without end")


def _content(data: memoryview, size: int) -> tuple[list[memoryview], int]:
    """The bytes of a file in parts, and how many of `data` they were deflated in."""
    if stored := _stored(data, size):
        return stored
    inflating = zlib.decompressobj()
    try:
        whole = inflating.decompress(data, size + 1)
    except zlib.error as error:
        raise _bad(str(error)) from None
    if not inflating.eof or len(whole) != size:
        raise _bad("a file is not as long as it says")
    return [memoryview(whole)], len(data) - len(inflating.unused_data)


def _stored(data: memoryview, size: int) -> tuple[list[memoryview], int] | None:
    """The same for what is only wrapped, without a copy; None for anything else."""
    parts, check = _wrapped(data, size), 1
    for part in parts:
        check = zlib.adler32(part, check)
    at = 2 + 5 * len(parts) + size
    return (parts, at + 4) if parts and data[at : at + 4] == check.to_bytes(4, "big") else None


def _wrapped(data: memoryview, size: int) -> list[memoryview]:
    """The parts of what is only wrapped, as far as lengths tell; empty for anything else."""
    parts, at, last = [], 2, data[:2] != _STORED
    while not last:
        if at + 5 > len(data) or data[at] > 1:
            return []
        last = data[at] == 1
        length, inverse = struct.unpack_from("<HH", data, at + 1)
        parts.append(data[at + 5 : at + 5 + length])
        at, size = at + 5 + length, size - length
        if length ^ inverse != 0xFFFF:
            return []
    return [] if size else parts


def _without(pack: memoryview, pieces: list[Piece]) -> tuple[memoryview, list[Piece]]:
    """The pack of these of its files."""
    begins = accumulate((piece.end - piece.begin for piece in pieces), initial=_HEAD)
    moved = [Piece(piece.oid, to, to + piece.data - piece.begin, to + piece.end - piece.begin, piece.size)
             for piece, to in zip(pieces, begins, strict=False)]
    fresh = b"".join([pack[:8], struct.pack(">I", len(pieces)), *(pack[piece.begin : piece.end] for piece in pieces)])
    return memoryview(fresh + hashlib.sha1(fresh).digest()), moved  # noqa: S324 git's own


def _index(pack: memoryview, pieces: list[Piece]) -> list[bytes | memoryview]:
    """The second form of a pack's index, by which git finds what is in it."""
    pieces = sorted(pieces)
    counts = [0] * 256
    for piece in pieces:
        counts[piece.oid[0]] += 1
    parts: list[bytes | memoryview] = [b"\xfftOc" + struct.pack(">I", 2), struct.pack(">256I", *accumulate(counts)),
             b"".join([piece.oid for piece in pieces]),
             struct.pack(f">{len(pieces)}I", *(zlib.crc32(pack[piece.begin : piece.end]) for piece in pieces)),
             struct.pack(f">{len(pieces)}I", *(piece.begin for piece in pieces)), pack[-_TRAILER:]]
    return [*parts, hashlib.sha1(b"".join(parts)).digest()]  # noqa: S324 git's own


def _put(at: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Durable before it has its name."""
    new = at.with_name(f"tmp_{at.name}")
    with new.open("wb") as file:
        for part in parts:
            file.writelines(part[begin : begin + _CHUNK] for begin in range(0, len(part), _CHUNK))
        file.flush()
        os.fsync(file.fileno())
    new.rename(at)
