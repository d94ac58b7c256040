"""Owns the frames of a WebSocket (RFC 6455, section 5): bytes to send made of messages, messages out of bytes.
It must not know a socket, or what a message says."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

BINARY, CLOSE, PING, PONG = 0x2, 0x8, 0x9, 0xA
_CONTINUED = 0x0
_CONTROL = 0x8
LIMIT = 32 << 20
_ROOM = 1 << 18


class Broken(Exception):
    """What arrived is no WebSocket frame, or one beyond all measure."""


def frame(kind: int, data: bytes) -> bytes:
    """One whole message of a client, masked."""
    size = len(data)
    if size < 126:
        head = struct.pack(">BB", 0x80 | kind, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x80 | kind, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | kind, 0x80 | 127, size)
    key = os.urandom(4)
    return head + key + masked(key, data)


def masked(key: bytes, data: bytes) -> bytes:
    """`data` under the mask; as one large number it costs a hundredth of masking byte by byte."""
    size = len(data)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")


class Frames:
    """What a server sends, in pieces of any size. The time and the memory that it takes grow with the bytes alone."""

    def __init__(self) -> None:
        self._buffer, self._filled = bytearray(_ROOM), 0
        self._parts: list[bytes] = []
        self._kind, self._size = BINARY, 0

    def room(self) -> memoryview:
        """Where what arrives next has to be put: of hundreds of megabytes every copy counts."""
        if len(self._buffer) - self._filled < _ROOM:
            self._buffer = self._buffer + bytes(len(self._buffer))
        return memoryview(self._buffer)[self._filled:]

    def feed(self, count: int) -> Iterator[tuple[int, bytes]]:
        """(kind, message) of each message that is whole with `count` more bytes in the room. Raises Broken."""
        self._filled += count
        at = 0
        try:
            while (found := self._frame(at)) is not None:
                first, begin, end = found
                at = end
                payload = bytes(memoryview(self._buffer)[begin:end])
                kind = first & 0x0F
                if kind & _CONTROL:
                    yield kind, payload
                    continue
                if kind != _CONTINUED:
                    self._kind, self._parts, self._size = kind, [], 0
                self._parts.append(payload)
                self._size += len(payload)
                if self._size > LIMIT:
                    raise Broken(f"a message of more than {LIMIT} bytes")
                if first & 0x80:
                    yield self._kind, b"".join(self._parts)
                    self._parts = []
        finally:
            if at:
                left = self._filled - at
                self._buffer[:left] = self._buffer[at:self._filled]
                self._filled = left

    def _frame(self, at: int) -> tuple[int, int, int] | None:
        """First byte, and where the payload begins and ends, of the frame at `at`; None while it is not whole."""
        there = self._filled - at
        if there < 2:
            return None
        first, short = self._buffer[at], self._buffer[at + 1]
        if short & 0x80:
            raise Broken("a masked frame, which only a client may send")
        begin, size = at + 2, short
        if short >= 126:
            width = 2 if short == 126 else 8
            if there < 2 + width:
                return None
            begin, size = at + 2 + width, int.from_bytes(self._buffer[at + 2:at + 2 + width], "big")
        if size > LIMIT:
            raise Broken(f"a frame of {size} bytes")
        return (first, begin, begin + size) if self._filled >= begin + size else None
