"""How the test double's gateway and a supervisor talk: one connection over a unix socket is one request.

Owns the frames; must not know what is asked. (A real supervisor dials the gateway by gRPC instead.)
"""

import asyncio
import json
import struct
from typing import Any

HEAD = struct.Struct(">BI")
DATA, OUT, ERR, EXIT, EOF, RESIZE, FAIL = range(7)
CHUNK = 256 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def receive(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The next frame; raises EOFError where the other side has gone."""
    try:
        kind, size = HEAD.unpack(await reader.readexactly(HEAD.size))
        return kind, await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError) as gone:
        raise EOFError from gone


async def send(writer: asyncio.StreamWriter, kind: int, payload: bytes = b"") -> None:
    """Write one frame and wait for room; raises ConnectionError where nobody reads any more."""
    writer.write(HEAD.pack(kind, len(payload)))
    writer.write(payload)
    await writer.drain()


async def ask(reader: asyncio.StreamReader) -> dict[str, Any]:
    """One line of JSON: a request, or the answer to one."""
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return dict(json.loads(line))


async def say(writer: asyncio.StreamWriter, value: dict[str, Any]) -> None:
    writer.write(json.dumps(value).encode() + b"\n")
    await writer.drain()


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Move bytes until there are no more, and say so where that can be said."""
    try:
        while piece := await source.read(CHUNK):
            target.write(piece)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
    except ConnectionError:
        pass
