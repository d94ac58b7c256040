"""Owns a program at the other end of one ssh channel, as a `pifleet.stream.Stream`.
It must not know how the connection under it was opened, or what the program is for."""

from __future__ import annotations

import select
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pifleet.stream import STDERR_KEPT, StreamTimeout

if TYPE_CHECKING:
    import paramiko

WINDOW = 4 << 20  # more than a channel lets the other side send unread (paramiko's default window is 2 MiB)
CLOSE = b"\x61"  # SSH_MSG_CHANNEL_CLOSE (RFC 4254, section 9)


class SshStream:
    """A Stream over one ssh channel."""

    def __init__(self, channel: Any) -> None:
        self._channel: paramiko.Channel = channel
        channel.transport = _Outbox(channel.transport)
        self._ready = select.poll()
        self._ready.register(channel.fileno(), select.POLLIN)
        self._stderr = b""

    def send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except OSError as error:
            raise BrokenPipeError(str(error)) from None

    def end(self) -> None:
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def read(self, size: int, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while True:
            ended = self._channel.eof_received or self._channel.closed
            self._drain_stderr()
            if ended or self._channel.recv_ready():
                return self._channel.recv(size)
            left = deadline - time.monotonic()
            if left <= 0 or not self._ready.poll(left * 1000):
                raise StreamTimeout

    def wait(self, timeout: float) -> int:
        if not self._channel.status_event.wait(timeout):
            raise StreamTimeout
        return self._channel.exit_status if self._channel.exit_status >= 0 else 255

    def stderr(self) -> bytes:
        self._drain_stderr()
        return self._stderr

    def close(self) -> None:
        self._channel.close()

    def _drain_stderr(self) -> None:
        """Keep what is there of standard error now, in one read: more could go on for as long as the program writes."""
        if self._channel.recv_stderr_ready():
            self._stderr = (self._stderr + self._channel.recv_stderr(WINDOW))[-STDERR_KEPT:]


class _Outbox:
    """A channel's way to its transport, by which nothing follows the channel's end.

    paramiko makes a message under the channel's lock and sends it outside of that (its issues 1115 and 1705). A server
    that gets one for a channel which is closed by then ends the whole connection. The end itself waits for nobody: the
    thread that reads sends it too.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._turn = threading.Lock()
        self._end: Any = None
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send_user_message(self, message: Any) -> None:
        try:
            if message.asbytes()[:1] == CLOSE:
                self._end = message
            else:
                with self._turn:
                    if not self._end:
                        self._transport._send_user_message(message)
        finally:
            self._send_end()

    def _send_end(self) -> None:
        if self._end and self._turn.acquire(blocking=False):  # whoever has the turn sends it after its own
            try:
                if not self._ended:
                    self._ended = True
                    self._transport._send_user_message(self._end)
            finally:
                self._turn.release()
