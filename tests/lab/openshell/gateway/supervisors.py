"""The test double's gateway asks a sandbox's supervisor, over the socket in the folder that the two share.

Owns where that folder is and how long a supervisor is waited for; must not know gRPC.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ..supervisor.link import ask, say
from .protocol import unavailable

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LIMIT = 1 << 24


class Supervisors:
    """Connections to supervisors by sandbox id."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, sandbox: str) -> Path:
        path = self.root / sandbox
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    async def connect(self, sandbox: str) -> Streams:
        """A connection; raises OSError where nobody listens."""
        # Through a descriptor, because a socket's path may not be longer than 107 bytes.
        folder = os.open(self.root / sandbox, os.O_PATH | os.O_DIRECTORY)
        try:
            return await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/supervisor.sock", limit=LIMIT)
        finally:
            os.close(folder)

    @asynccontextmanager
    async def asked(self, sandbox: str, do: str, **words: Any) -> AsyncIterator[Streams]:
        """A connection on which the request is made; raises Refusal where the supervisor is gone."""
        try:
            reader, writer = await self.connect(sandbox)
        except OSError as error:
            raise unavailable(f"supervisor relay failed: {error}") from error
        try:
            await say(writer, {"do": do, **words})
            yield reader, writer
        finally:
            writer.close()

    async def tell(self, sandbox: str, do: str, **words: Any) -> dict[str, Any]:
        """One request with one answer; raises Refusal or EOFError where the supervisor goes."""
        async with self.asked(sandbox, do, **words) as (reader, _):
            return await ask(reader)
