"""Owns the byte stream to a program that runs somewhere else: what every exec of every pattern looks like.
It must not know patterns, hosts or what the bytes mean."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Protocol

STDERR_KEPT = 64 * 1024


class StreamTimeout(Exception):
    """Nothing arrived within the time allowed."""


class Stream(Protocol):
    """A running program: bytes in, bytes out, an exit code. All sizes are bytes, all times seconds."""

    def send(self, data: bytes) -> None:
        """Write all of `data` to the program's standard input."""

    def end(self) -> None:
        """Close the program's standard input."""

    def read(self, size: int, timeout: float) -> bytes:
        """At most `size` bytes of standard output, b"" at its end. Raises StreamTimeout."""

    def wait(self, timeout: float) -> int:
        """The exit code (255 when the connection broke). Raises StreamTimeout."""

    def stderr(self) -> bytes:
        """The last 64 KiB of standard error so far."""

    def close(self) -> None:
        """End the program and free everything; safe to call twice."""


class LocalStream:
    """A Stream over a child process of this one, in a process group of its own so that `close` ends all of it."""

    def __init__(self, argv: Sequence[str], env: dict[str, str] | None = None) -> None:
        self._child = subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
            bufsize=0, start_new_session=True,
        )
        self._selector = selectors.DefaultSelector()
        assert self._child.stdout
        assert self._child.stderr
        self._selector.register(self._child.stdout, selectors.EVENT_READ, "out")
        self._selector.register(self._child.stderr, selectors.EVENT_READ, "err")
        # Something that the program left behind may hold it open for ever.
        os.set_blocking(self._child.stderr.fileno(), False)
        self._stderr = b""

    def send(self, data: bytes) -> None:
        assert self._child.stdin
        view = memoryview(data)
        while view:
            view = view[self._child.stdin.write(view) or 0:]

    def end(self) -> None:
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()

    def read(self, size: int, timeout: float) -> bytes:
        assert self._child.stdout
        deadline = time.monotonic() + timeout
        while True:
            ready = self._selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise StreamTimeout
            for key, _ in ready:
                if key.data == "out":
                    return bytes(self._child.stdout.read(size) or b"")
                if self._drain() == b"":
                    self._selector.unregister(key.fileobj)

    def wait(self, timeout: float) -> int:
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise StreamTimeout from None
        return code if code >= 0 else 128 - code

    def stderr(self) -> bytes:
        if self._child.stderr and not self._child.stderr.closed:
            self._drain()
        return self._stderr

    def _drain(self) -> bytes | None:
        """Keep what is there of standard error now; b"" at its end, None when nothing is there yet.

        One read takes all that a pipe holds (pipe(7)); more could go on for as long as the program writes.
        """
        assert self._child.stderr
        chunk: bytes | None = self._child.stderr.read(STDERR_KEPT)
        self._stderr = (self._stderr + (chunk or b""))[-STDERR_KEPT:]
        return chunk

    def close(self) -> None:
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # two threads may close it at once
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        self._selector.close()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
