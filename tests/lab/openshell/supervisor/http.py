"""Just enough HTTP/1.1 for a proxy that reads one request a connection: heads, bodies, refusals.

Owns parsing and rendering; must not know policies.
"""

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

HEAD_BYTES, BODY_BYTES = 64 * 1024, 64 << 20


@dataclass
class Request:
    method: str
    target: str
    headers: list[tuple[str, str]]

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    def render(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{key}: {value}" for key, value in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def without(self, *names: str) -> list[tuple[str, str]]:
        return [(key, value) for key, value in self.headers if key.lower() not in names]


async def read_request(reader: asyncio.StreamReader) -> Request:
    """One request's head; raises EOFError where the client goes, ValueError for what is no head."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as gone:
        raise EOFError from gone
    except asyncio.LimitOverrunError as error:
        raise ValueError("head too long") from error
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, version = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    headers = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    return Request(method, target, headers)


async def read_body(reader: asyncio.StreamReader, request: Request) -> bytes:
    """The whole body; raises ValueError where it is too long."""
    if request.header("transfer-encoding").lower() == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
            if len(body) > BODY_BYTES:
                raise ValueError("body too long")
        await reader.readuntil(b"\r\n")
        return body
    size = int(request.header("content-length") or 0)
    if size > BODY_BYTES:
        raise ValueError("body too long")
    return await reader.readexactly(size)


def answer(code: int, body: dict[str, Any]) -> bytes:
    text = json.dumps(body).encode()
    head = (f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n")
    return head.encode() + text
