"""Commands in sandboxes: the test double's `ExecSandbox`, once with all input at hand and once interactive.

Owns how a command becomes one shell line and what is logged of it; must not know ssh.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator
from typing import Any

from ..supervisor.link import CHUNK, DATA, EOF, ERR, EXIT, FAIL, OUT, RESIZE, receive, send
from . import checks
from .protocol import invalid, m, precondition, unavailable
from .state import State, log

SHELL = ["/bin/bash", "-lc"]
PREVIEW = 120
TIMEOUT_CODE = 124
GONE = "exec relay closed before the command reported an exit status"


def line(request: Any) -> str:
    """The shell line of a request: variables first, then words, each quoted where it must be."""
    words = [f"{key}={shlex.quote(value)}" for key, value in sorted(request.environment.items())]
    text = " ".join([*words, *map(shlex.quote, request.command)])
    if request.workdir:
        text = f"cd {shlex.quote(request.workdir)} && {text}"
    if len(text.encode()) > checks.COMMAND:
        raise invalid(f"command construction failed: assembled command string exceeds {checks.COMMAND} byte limit")
    return text


class Execs:
    """Mixed into the service."""

    state: State

    async def ExecSandbox(self, request: Any, context: Any) -> AsyncIterator[Any]:
        async for event in self._exec(request, None):
            yield event

    async def ExecSandboxInteractive(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        first = await anext(aiter(requests), None)
        if first is None:
            raise invalid("empty stream: expected start message")
        if first.WhichOneof("payload") != "start":
            raise invalid("first message must be start")
        async for event in self._exec(first.start, requests):
            yield event

    async def _exec(self, request: Any, more: Any) -> AsyncIterator[Any]:
        checks.command(request)
        self.state.ready(request.sandbox_id)
        text = line(request)
        # The real gateway logs this too: variables come first, so their values are in its log.
        log.info("ExecSandbox (relay): command started sandbox_id=%s command_len=%d stdin_len=%d command_preview=%s",
                 request.sandbox_id, len(text), len(request.stdin),
                 text[:PREVIEW].encode("unicode_escape").decode())
        terminal = (request.rows or 24, request.cols or 80) if request.tty else None
        spawn = self.state.supervisors.asked(request.sandbox_id, "spawn", argv=[*SHELL, text], env={},
                                             terminal=terminal)
        async with spawn as (reader, writer):
            feeding = asyncio.ensure_future(feed(writer, request.stdin, more))
            try:
                async with asyncio.timeout(request.timeout_seconds or None):
                    while True:
                        kind, payload = await receive(reader)
                        if kind == OUT:
                            yield m.ExecSandboxEvent(stdout=m.ExecSandboxStdout(data=payload))
                        elif kind == ERR:
                            yield m.ExecSandboxEvent(stderr=m.ExecSandboxStderr(data=payload))
                        elif kind == FAIL:
                            raise precondition(payload.decode())
                        elif kind == EXIT:
                            yield exit_event(int(payload))
                            return
            except TimeoutError:
                # The process lives on: the real gateway does not end it, either.
                yield exit_event(TIMEOUT_CODE)
            except EOFError:
                raise unavailable(GONE) from None
            finally:
                feeding.cancel()


def exit_event(code: int) -> Any:
    return m.ExecSandboxEvent(exit=m.ExecSandboxExit(exit_code=code))


async def feed(writer: asyncio.StreamWriter, first: bytes, more: Any) -> None:
    """Input for a process: what came with the request, then what the caller sends, then its end."""
    for start in range(0, len(first), CHUNK):
        await send(writer, DATA, first[start:start + CHUNK])
    if more is not None:
        async for message in more:
            if message.WhichOneof("payload") == "stdin":
                await send(writer, DATA, message.stdin)
            elif message.WhichOneof("payload") == "resize":
                await send(writer, RESIZE, f"{message.resize.rows} {message.resize.cols}".encode())
    await send(writer, EOF)
