"""Owns a program at the other end of one ssh channel, as a `pifleet.stream.Stream`.
It must not know how the connection under it was opened, or what the program is for."""

from __future__ import annotations

import select
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pifleet.stream import STDERR_KEPT, StreamTimeout

if TYPE_CHECKING:
    import paramiko

WINDOW = 4 << 20  # more than a channel lets the other side send unread (paramiko's default window is 2 MiB)


class SshStream:
    """A Stream over one ssh channel."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
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
