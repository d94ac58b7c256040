"""The test double's tunnels: tokens for them, how many there may be, and the bytes through `ForwardTcp`.

Owns the two limits; must not know what is spoken inside.
"""

import asyncio
import contextlib
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from ..supervisor.link import ask, say
from . import ssh
from .protocol import Refusal, data, invalid, m, now, unavailable
from .state import State

PER_TOKEN, PER_SANDBOX = 3, 20
CHUNK = 64 * 1024


class Forwards:
    """Mixed into the service."""

    state: State
    by_token: Counter[str]
    by_sandbox: Counter[str]

    async def CreateSshSession(self, request: Any, context: Any) -> Any:
        if not request.sandbox_id:
            raise invalid("sandbox_id is required")
        sandbox = self.state.ready(request.sandbox_id)
        token, config = secrets.token_hex(16), self.state.config
        expires = now() + config.session_ttl * 1000 if config.session_ttl else 0
        meta = data.ObjectMeta(id=token, name=f"ssh-{token[:12]}", workspace=sandbox.metadata.workspace)
        self.state.store.add(m.SshSession(metadata=meta, sandbox_id=request.sandbox_id, token=token,
                                          expires_at_ms=expires), "ssh session")
        return m.CreateSshSessionResponse(
            sandbox_id=request.sandbox_id, token=token, gateway_host=config.host, gateway_port=config.port,
            gateway_scheme=config.scheme, expires_at_ms=expires)

    async def RevokeSshSession(self, request: Any, context: Any) -> Any:
        if not request.token:
            raise invalid("token is required")
        session = self.state.store.by_id(m.SshSession, request.token)
        if session is None:
            return m.RevokeSshSessionResponse(revoked=False)
        session.revoked = True
        self.state.store.save(session)
        return m.RevokeSshSessionResponse(revoked=True)

    async def ForwardTcp(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        frames = aiter(requests)
        first = await anext(frames, None)
        if first is None:
            raise invalid("empty ForwardTcp stream")
        if first.WhichOneof("payload") != "init":
            raise invalid("first TcpForwardFrame must be init")
        check_target(first.init)
        self.state.ready(first.init.sandbox_id)
        with self.slot(first.init):
            reader, writer = await self.open(first.init)
            inward = asyncio.ensure_future(pump(frames, writer))
            try:
                while piece := await reader.read(CHUNK):
                    yield m.TcpForwardFrame(data=piece)
            finally:
                inward.cancel()
                writer.close()

    @contextmanager
    def slot(self, init: Any) -> Iterator[None]:
        """A place for one more connection; raises Refusal for a bad token or where there is none left."""
        token, sandbox = init.authorization_token.strip(), init.sandbox_id
        if not token:
            raise unauthenticated("authorization_token is required for ForwardTcp")
        session = self.state.store.by_id(m.SshSession, token)
        if session is None:
            raise unauthenticated("SSH session token not found")
        if session.revoked or session.sandbox_id != sandbox:
            raise unauthenticated("SSH session token is not valid")
        if session.expires_at_ms and now() > session.expires_at_ms:
            raise unauthenticated("SSH session token expired")
        if self.by_token[token] >= PER_TOKEN:
            raise exhausted("SSH session connection limit reached")
        if self.by_sandbox[sandbox] >= PER_SANDBOX:
            raise exhausted("sandbox SSH connection limit reached")
        self.by_token[token] += 1
        self.by_sandbox[sandbox] += 1
        try:
            yield
        finally:
            self.by_token[token] -= 1
            self.by_sandbox[sandbox] -= 1

    async def open(self, init: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The near end of a tunnel: to an ssh server, or to a port of the sandbox's loopback."""
        if init.WhichOneof("target") == "ssh":
            near, far = socket.socketpair()
            self.state.background(ssh.serve(self.state, init.sandbox_id, far))
            return await asyncio.open_connection(sock=near)
        try:
            reader, writer = await self.state.supervisors.connect(init.sandbox_id)
        except OSError as error:
            raise unavailable(f"supervisor relay failed: {error}") from error
        await say(writer, {"do": "connect", "host": init.tcp.host, "port": init.tcp.port})
        if not (answer := await ask(reader))["ok"]:
            raise unavailable(answer["error"])
        return reader, writer


def check_target(init: Any) -> None:
    if not init.sandbox_id:
        raise invalid("sandbox_id is required")
    if init.WhichOneof("target") is None:
        raise invalid("tcp forward target is required")
    if init.WhichOneof("target") == "tcp":
        if not 0 < init.tcp.port < 65536:
            raise invalid("tcp target port must be between 1 and 65535")
        if init.tcp.host.strip() not in ("127.0.0.1", "::1", "localhost"):
            raise invalid("tcp target host must be loopback")


def unauthenticated(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.UNAUTHENTICATED, text)


def exhausted(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)


async def pump(frames: Any, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        async for frame in frames:
            writer.write(frame.data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
