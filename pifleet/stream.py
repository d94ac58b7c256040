"""Owns the byte stream to a program that runs somewhere else: what every exec of every pattern looks like.
It must not know patterns, hosts or what the bytes mean."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
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
        while True:
            ready = self._selector.select(timeout)
            if not ready:
                raise StreamTimeout
            for key, _ in ready:
                chunk = key.fileobj.read(size if key.data == "out" else STDERR_KEPT)  # type: ignore[union-attr]
                if key.data == "out":
                    return bytes(chunk or b"")
                if not chunk:
                    self._selector.unregister(key.fileobj)
                self._stderr = (self._stderr + (chunk or b""))[-STDERR_KEPT:]

    def wait(self, timeout: float) -> int:
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise StreamTimeout from None
        return code if code >= 0 else 128 - code

    def stderr(self) -> bytes:
        if self._child.stderr and not self._child.stderr.closed and self._child.poll() is not None:
            self._stderr = (self._stderr + (self._child.stderr.read() or b""))[-STDERR_KEPT:]
        return self._stderr

    def close(self) -> None:
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        self._selector.close()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
