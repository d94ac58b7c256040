"""The test double's ssh server, one for each relayed connection: no key, no password, any user name.

Owns how channels become processes of a sandbox; must not know tokens. (The real one runs inside the sandbox.)
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import asyncssh

from ..supervisor.link import DATA, EOF, ERR, EXIT, FAIL, OUT, RESIZE, ask, receive, send
from .execs import SHELL
from .protocol import Refusal
from .state import State

SFTP = "/usr/lib/openssh/sftp-server"
MAIN = "openshell-main"
DETACH = b"\x10\x11"  # Ctrl-P Ctrl-Q
CHUNK = 128 * 1024


class Session(asyncssh.SSHServerProcess[bytes]):
    """A channel; sftp is a program in the sandbox like any other, not this library's own."""

    def __init__(self, serve: Any, keep: Callable[[Any], None]) -> None:
        super().__init__(serve, None, 0, False)
        self.keep = keep

    def subsystem_requested(self, subsystem: str) -> bool:
        return True

    def session_started(self) -> None:
        reader, writer = asyncssh.SSHReader(self, self.channel), asyncssh.SSHWriter(self, self.channel)
        errors = asyncssh.SSHWriter(self, self.channel, asyncssh.EXTENDED_DATA_STDERR)
        self.keep(self._start_process(reader, writer, errors))


class Server(asyncssh.SSHServer):
    """Lets everybody in, and forwards to the sandbox's loopback only."""

    def __init__(self, state: State, sandbox: str) -> None:
        self.state, self.sandbox = state, sandbox

    def session_requested(self) -> Session:
        async def session(process: Any) -> None:
            try:
                await channel(self.state, self.sandbox, process)
            except (Refusal, EOFError, ConnectionError):
                process.exit(255)
        return Session(session, self.state.background)

    def begin_auth(self, username: str) -> bool:
        return False

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        if dest_host not in ("127.0.0.1", "::1", "localhost"):
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "only loopback is forwarded")

        async def relay(reader: Any, writer: Any) -> None:
            with contextlib.suppress(Refusal, EOFError, ConnectionError):
                async with self.state.supervisors.asked(self.sandbox, "connect", host=dest_host,
                                                        port=dest_port) as (there, back):
                    if (await ask(there))["ok"]:
                        await asyncio.gather(copy(reader, back), copy(there, writer))
            writer.close()
        return relay


async def serve(state: State, sandbox: str, end: socket.socket) -> None:
    """Speak ssh on a socket until the client goes."""
    connection = await asyncssh.run_server(
        end, server_factory=lambda: Server(state, sandbox), encoding=None,
        line_editor=False, server_host_keys=[host_key()], config=None, allow_pty=True,
        compression_algs=["none", "zlib@openssh.com"], keepalive_interval=0)
    await connection.wait_closed()


KEYS: list[asyncssh.SSHKey] = []


def host_key() -> asyncssh.SSHKey:
    """This gateway's key; clients are told not to check it."""
    if not KEYS:
        KEYS.append(asyncssh.generate_private_key("ssh-ed25519"))
    return KEYS[0]


async def channel(state: State, sandbox: str, process: Any) -> None:
    """One session: a command, a shell, sftp, or the main process."""
    terminal = None
    if process.get_terminal_type() is not None:
        columns, rows = process.get_terminal_size()[:2]
        terminal = (rows, columns)
    env = {"TERM": process.get_terminal_type() or process.env.get("TERM", "xterm-256color")}
    if process.subsystem == MAIN:
        request = state.supervisors.asked(sandbox, "attach")
    elif process.subsystem and process.subsystem != "sftp":
        process.exit(1)
        return
    else:
        argv = [SFTP] if process.subsystem else [*SHELL, process.command] if process.command else ["/bin/bash", "-l"]
        request = state.supervisors.asked(sandbox, "spawn", argv=argv, env=env, terminal=terminal)
    async with request as (reader, writer):
        feeding = asyncio.ensure_future(feed(process, writer, process.subsystem == MAIN))
        try:
            await report(process, reader, feeding)
        finally:
            feeding.cancel()


async def report(process: Any, reader: asyncio.StreamReader, feeding: "asyncio.Future[bool]") -> None:
    """Give what the process says to the client, then its exit code."""
    feeding.add_done_callback(lambda done: done.cancelled() or not done.result() or process.exit(0))
    while True:
        kind, payload = await receive(reader)
        if kind in (OUT, ERR):
            stream = process.stdout if kind == OUT or process.get_terminal_type() else process.stderr
            stream.write(payload)
            await stream.drain()
        elif kind == FAIL:
            process.stderr.write(payload + b"\n")
            process.exit(127)
            return
        elif kind == EXIT:
            process.exit(int(payload))
            return


async def feed(process: Any, writer: asyncio.StreamWriter, detachable: bool) -> bool:
    """Give what the client says to the process; tells whether the client detached by its keys."""
    if compressed(process):
        # With the real gateway, input of a compressed connection stalls.
        await asyncio.Event().wait()
    held = b""
    while True:
        try:
            piece = await process.stdin.read(CHUNK)
        except asyncssh.TerminalSizeChanged as change:
            await send(writer, RESIZE, f"{change.height} {change.width}".encode())
            continue
        except (asyncssh.BreakReceived, asyncssh.SignalReceived):
            continue
        if not piece:
            with contextlib.suppress(ConnectionError):
                await send(writer, EOF)
            return False
        if detachable:
            piece, held = held + piece, b""
            if DETACH in piece:
                return True
            if piece.endswith(DETACH[:1]):
                piece, held = piece[:-1], piece[-1:]
        with contextlib.suppress(ConnectionError):
            await send(writer, DATA, piece)


def compressed(process: Any) -> bool:
    return str(process.get_extra_info("recv_compression") or "none") != "none"


async def copy(reader: Any, writer: Any) -> None:
    while piece := await reader.read(CHUNK):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
