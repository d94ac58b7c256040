"""The only way out of a sandbox of the test double: a proxy that asks the policy, inspects, and puts keys in.

Owns connections; must not know how a verdict is reached. Requests leave from the container, as with the real one.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from . import callers, inference, network, rules, secrets
from .http import HEAD_BYTES, Request, answer, read_request
from .link import Streams, copy
from .processes import ready
from .trust import Trust

TLS_HANDSHAKE = b"\x16"


class Proxy:
    """Serves one sandbox; the gateway's orders are replaced as they come."""

    def __init__(self, inner: int, log: Callable[[str, str], None], trust: Trust) -> None:
        self.inner, self.log, self.trust = inner, log, trust
        self.orders: dict[str, Any] = {"network": {}, "secrets": {}, "inference": None}

    async def listen(self) -> asyncio.Server:
        return await asyncio.start_server(self.serve, network.PROXY, network.PORT, limit=HEAD_BYTES)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await read_request(reader)
            port = writer.get_extra_info("peername")[1]
            pid, programs = await asyncio.to_thread(callers.programs, self.inner, port)
            caller = f"{programs[0] if programs else '-'}({pid})"
            if request.method == "CONNECT":
                await self.tunnel(request, reader, writer, programs, caller)
            else:
                await self.plain(request, reader, writer, programs, caller)
        except (EOFError, ValueError, OSError, asyncio.IncompleteReadError) as error:
            if not isinstance(error, (EOFError, ConnectionError)):
                self.log("DEBUG", f"proxy connection ended: {error}")
        finally:
            writer.close()

    async def tunnel(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                     programs: list[str], caller: str) -> None:
        host, _, port = request.target.rpartition(":")
        host = host.strip("[]").lower()
        if host == inference.HOST and port == "443":
            await self.accept(writer)
            await writer.start_tls(self.trust.context(host))
            await inference.serve(self.orders["inference"], reader, writer, self.log)
            return
        verdict = await self.judged(host, int(port), programs, caller)
        if not verdict.allowed:
            writer.write(answer(403, {"error": "policy_denied", "reason": verdict.reason,
                                      "detail": f"CONNECT {host}:{port} not permitted by policy"}))
            await writer.drain()
            return
        endpoint = verdict.endpoint or {}
        await self.accept(writer)
        if endpoint.get("protocol") not in ("rest",) or endpoint.get("tls") == "skip":
            writer.transport.resume_reading()
            await both((reader, writer), await asyncio.open_connection(host, int(port)))
            return
        secure = await first_byte(writer) == TLS_HANDSHAKE
        if secure:
            await writer.start_tls(self.trust.context(host))
        else:
            writer.transport.resume_reading()
        await self.inspected(await read_request(reader), reader, writer, verdict, (host, int(port), secure), caller)

    async def plain(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                    programs: list[str], caller: str) -> None:
        """A request that names its host in full, without TLS."""
        parts = urlsplit(request.target)
        host, port = (parts.hostname or "").lower(), parts.port or 80
        verdict = await self.judged(host, port, programs, caller)
        if not verdict.allowed:
            writer.write(answer(403, {"error": "policy_denied", "reason": verdict.reason,
                                      "detail": f"{request.method} {host}:{port}{parts.path} not permitted by policy"}))
            await writer.drain()
            return
        request.target = request.target.partition(parts.netloc)[2] or "/"
        await self.inspected(request, reader, writer, verdict, (host, port, False), caller)

    async def judged(self, host: str, port: int, programs: list[str], caller: str) -> rules.Verdict:
        """The policy's word on a connection, and where it is a no, a line in the log."""
        verdict, engine = rules.place(self.orders["network"], host, port, programs), "opa"
        if verdict.allowed:
            found = await asyncio.get_running_loop().getaddrinfo(host, port)
            refused = [why for one in found if (why := rules.address_refused(one[4][0], verdict.endpoint or {}))]
            if refused:
                verdict, engine = rules.Verdict(False, "-", refused[0]), "ssrf"
        word = "ALLOWED" if verdict.allowed else "DENIED"
        reason = "" if verdict.allowed else f" [reason:{verdict.reason}]"
        self.log("OCSF", f"NET:OPEN [{'INFO' if verdict.allowed else 'MED'}] {word} {caller} -> {host}:{port} "
                         f"[policy:{verdict.policy} engine:{engine}]{reason}")
        return verdict

    async def inspected(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                        verdict: rules.Verdict, place: tuple[str, int, bool], caller: str) -> None:
        """One request to a host whose protocol is known: judged, its placeholders replaced, passed on."""
        host, port, secure = place
        decided = rules.request(verdict, request.method, request.target) \
            if (verdict.endpoint or {}).get("protocol") == "rest" else verdict
        url = f"{'https' if secure else 'http'}://{host}{urlsplit(request.target).path}"
        word = "DENIED" if not decided.allowed else "AUDIT" if decided.reason else "ALLOWED"
        self.log("OCSF", f"HTTP:{request.method} [{'MED' if decided.reason else 'INFO'}] {word} {request.method} {url} "
                         f"[policy:{verdict.policy} engine:l7]" + (f" [reason:{decided.reason}]" if decided.reason
                                                                  else ""))
        if decided.allowed:
            try:
                request = secrets.put_in(request, self.orders["secrets"], host, port)
            except secrets.Mismatch:
                decided = rules.Verdict(False, verdict.policy, "credential_endpoint_mismatch")
                self.log("OCSF", f"HTTP:{request.method} [MED] DENIED {caller} -> {host}:{port} "
                                 f"[reason:{decided.reason}]")
        if not decided.allowed:
            writer.write(answer(403, {
                "error": decided.reason if decided.reason == "credential_endpoint_mismatch" else "policy_denied",
                "policy": verdict.policy, "rule": f"{request.method} {request.target}", "detail": decided.reason,
                "layer": "l7", "protocol": "rest", "method": request.method, "host": host, "port": port}))
            await writer.drain()
            return
        there = await asyncio.open_connection(host, port, ssl=self.trust.upstream() if secure else None)
        request.headers = [*request.without("connection", "proxy-connection", "proxy-authorization"),
                           ("Connection", "close")]
        there[1].write(request.render())
        await both((reader, writer), there, one_way=True)

    @staticmethod
    async def accept(writer: asyncio.StreamWriter) -> None:
        """Say yes, and read no further: what comes next may be TLS, which is not for the stream's reader."""
        writer.transport.pause_reading()
        writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        await writer.drain()


async def first_byte(writer: asyncio.StreamWriter) -> bytes:
    """What a client will say first, left unread."""
    descriptor = os.dup(writer.get_extra_info("socket").fileno())
    with socket.socket(fileno=descriptor) as peeping:
        await ready(descriptor, asyncio.get_running_loop().add_reader)
        return peeping.recv(1, socket.MSG_PEEK)


async def both(here: Streams, there: Streams, one_way: bool = False) -> None:
    """Move bytes until both sides ended; with `one_way`, until the far side ended."""
    up = asyncio.ensure_future(copy(here[0], there[1]))
    try:
        await copy(there[0], here[1])
        if not one_way:
            await up
    except ssl.SSLError:
        pass
    finally:
        up.cancel()
        there[1].close()
