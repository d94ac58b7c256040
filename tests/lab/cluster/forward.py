"""Carries connections from a port of the machine's loopback to the API server, by standard library alone.

Owns a socket that was made outside and so listens there, while it connects inside; must not know what is carried.
"""

import asyncio
import contextlib
import socket
import sys

CHUNK = 1 << 18


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def main(fd: int, port: int) -> None:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, asks = await asyncio.open_connection("127.0.0.1", port, limit=CHUNK)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, asks), pump(answers, writer))
        for end in (asks, writer):
            end.close()

    async with await asyncio.start_server(carry, sock=socket.socket(fileno=fd), limit=CHUNK) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
