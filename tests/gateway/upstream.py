"""Owns a provider that does as the body of a request tells it, over http or TLS, and records what reached it.
It must not know what stands between it and the client.

A body is a JSON object: `status` and `headers` of the answer, `wait` seconds before its first byte, `chunks` of an
event stream and the seconds `every` of them takes, `cut` to break the connection after the first, `until` a file that
must be there before the answer ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from typing import Any


async def read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of one request."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in
              (line.partition(b":") for line in head.split(b"\r\n")[1:])}
    body = b""
    if b"content-length" in fields:
        body = await reader.readexactly(int(fields[b"content-length"]))
    elif fields.get(b"transfer-encoding") == b"chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    return head, body


async def answer(writer: asyncio.StreamWriter, told: dict[str, Any]) -> None:
    await asyncio.sleep(told.get("wait", 0))
    lines = [f"HTTP/1.1 {told.get('status', 200)} Told", "Content-Type: text/event-stream",
             *(f"{name}: {value}" for name, value in told.get("headers", {}).items()), "Transfer-Encoding: chunked"]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    for number in range(told.get("chunks", 1)):
        if number:
            await asyncio.sleep(told.get("every", 0))
        data = f"data: {time.time():.6f} {number}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await writer.drain()
        if told.get("cut"):
            writer.transport.abort()
            return
    while "until" in told and not os.path.exists(told["until"]):
        await asyncio.sleep(0.02)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def serve(record: str, certificate: str) -> None:
    """Serve on a free port of 127.0.0.1, which is printed; each request is a line of JSON in `record`."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head, body = await read(reader)
                try:
                    told = json.loads(body)
                except ValueError:
                    told = {}
                with open(record, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"head": head.decode("latin-1"), "size": len(body), "told": told}) + "\n")
                await answer(writer, told)
                if b"connection: close" in head.lower():
                    break
        except (EOFError, OSError, asyncio.CancelledError):
            pass
        writer.close()

    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    server = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=context, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
