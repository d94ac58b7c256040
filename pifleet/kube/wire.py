"""Owns one open WebSocket to an API server: messages both ways, from one thread that sends and one that receives.
It must not know what runs at the other end."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pifleet.kube.frames import BINARY, CLOSE, PING, PONG, Broken, Frames, frame

if TYPE_CHECKING:
    from pifleet.kube.client import Api

PIECE = 1 << 16
# Balancers cut what says nothing for 60 seconds and more (kubernetes-client/python, issue 1841).
PING_SECONDS = 20.0
# A peer that acknowledges nothing for this long is gone (tcp(7), TCP_USER_TIMEOUT; milliseconds).
GONE = 60_000
HANDSHAKE_SECONDS = 30


class Wire:
    """An open WebSocket, safe for one thread that sends, one that receives, and any that closes.

    A TLS connection may not be read and written at the same moment, and waiting for one must not hold up the other:
    so nothing blocks but poll(2), and each single read or write has the lock.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._frames = Frames()
        self._io, self._sending, self._receiving = threading.Lock(), threading.Lock(), threading.Lock()
        self._closed = False
        self._goodbye = ""

    @classmethod
    def to(cls, api: Api, path: str, query: Sequence[tuple[str, str]], protocols: Sequence[str]) -> Wire:
        """Open it. Raises HostFailed, as ApiRefused where the server answered with an error."""
        from kubernetes.stream.ws_client import websocket_proxycare
        from websocket import WebSocketBadStatusException, WebSocketException, create_connection

        configuration = api.configuration()
        options = websocket_proxycare({}, configuration, "", {}) if configuration.proxy else {}
        named = {"server_hostname": configuration.tls_server_name} if configuration.tls_server_name else {}
        try:
            opened = create_connection(
                api.url(path, query).replace("http", "ws", 1), timeout=HANDSHAKE_SECONDS, subprotocols=protocols,
                header=[f"{name}: {value}" for name, value in api.authorization().items()], suppress_origin=True,
                sslopt={"context": api.tls, **named}, sockopt=[(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE)],
                **options,
            )
        except WebSocketBadStatusException as error:
            raise api.refused(error.status_code, error.resp_body or b"") from None
        except (WebSocketException, OSError) as error:
            raise api.unreachable(error) from None
        assert opened.sock
        return cls(opened.sock)

    def send(self, data: bytes) -> None:
        """Send one message. Raises BrokenPipeError when the connection is no more."""
        with self._sending:
            self._write(frame(BINARY, data))

    def receive(self, timeout: float) -> list[bytes]:
        """The messages that are there, after at most `timeout` seconds; none when there are none.

        Raises ConnectionError at the end of the connection.
        """
        with self._receiving:
            deadline = time.monotonic() + timeout
            while not self._goodbye:
                count = self._read(min(deadline, time.monotonic() + PING_SECONDS))
                if not count:
                    if time.monotonic() >= deadline:
                        return []
                    self._control(PING, b"")
                elif said := self._messages(count):
                    return said
            raise ConnectionResetError(self._goodbye)

    def close(self) -> None:
        """Say goodbye and free everything, which ends what other threads wait for; safe to call twice."""
        if not self._closed:
            self._control(CLOSE, (1000).to_bytes(2, "big"))
        self._closed = True
        with contextlib.suppress(OSError):
            # Of the connection below: TLS's own would let a thread that sends just now go on in clear.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        with self._sending, self._receiving:
            self._socket.close()

    def _messages(self, count: int) -> list[bytes]:
        said = []
        try:
            for kind, message in self._frames.feed(count):
                if kind == PING:
                    self._control(PONG, message)
                elif kind == CLOSE:
                    self._goodbye = message[2:].decode(errors="replace") or "the server closed it"
                elif kind != PONG:
                    said.append(message)
        except Broken as error:
            raise ConnectionResetError(str(error)) from None
        return said

    def _control(self, kind: int, data: bytes) -> None:
        """Send it if that is possible at once: whoever receives must not wait for whoever sends."""
        if self._sending.acquire(blocking=False):
            try:
                if self._ready(select.POLLOUT, 0):
                    with contextlib.suppress(BrokenPipeError):
                        self._write(frame(kind, data))
            finally:
                self._sending.release()

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            self._check()
            try:
                with self._io:
                    # The same bytes again after a refusal, as TLS wants it.
                    left = left[self._socket.send(left[:PIECE]):]
            except (ssl.SSLWantWriteError, BlockingIOError):
                self._ready(select.POLLOUT, 1)
            except ssl.SSLWantReadError:
                self._ready(select.POLLIN, 1)
            except (OSError, ValueError) as error:
                raise BrokenPipeError(str(error)) from None

    def _read(self, deadline: float) -> int:
        """Put what is there, or comes first until the deadline, into the frames' room; how many bytes.

        Raises ConnectionError at the end.
        """
        room, count = self._frames.room(), 0
        while count < len(room):
            try:
                with self._io:
                    more = self._socket.recv_into(room[count:])
            except (ssl.SSLWantReadError, BlockingIOError):
                wanted = select.POLLIN
            except ssl.SSLWantWriteError:
                wanted = select.POLLOUT
            except (OSError, ValueError) as error:
                raise ConnectionResetError(str(error)) from None
            else:
                if more:
                    count += more
                    continue
                if not count:
                    raise ConnectionResetError("the connection ended")
                break
            if count or not self._ready(wanted, deadline - time.monotonic()):
                break
        return count

    def _ready(self, wanted: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._socket.fileno(), wanted)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def _check(self) -> None:
        if self._closed:
            raise BrokenPipeError("closed")
