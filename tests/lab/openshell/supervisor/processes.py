"""Starts processes as the sandbox's user and moves their bytes: for `exec`, for ssh, for the main process.

Owns the reaping of all children, for it is the container's first process; must not know who asked.
"""

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Callable
from typing import Any

from . import kernel
from .identity import Identity
from .link import CHUNK

LINGER_SECONDS = 3.0


class Processes:
    """All children of this supervisor."""

    def __init__(self, who: Identity, network: int, hidden: list[str]) -> None:
        self.who, self.network, self.hidden = who, network, hidden
        self.rules: int | None = None
        self.waiting: dict[int, asyncio.Future[int]] = {}
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)

    def reap(self) -> None:
        """Collect every ended child, our own and those that lost their parents."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (ended := self.waiting.pop(pid, None)) and not ended.done():
                ended.set_result(os.waitstatus_to_exitcode(status))

    def confine(self) -> None:
        """In the child, before exec."""
        kernel.hide(*self.hidden)
        kernel.enter(self.network)
        kernel.renounce(self.who.uid, self.who.gid, self.who.groups, self.rules)

    def start(self, argv: list[str], env: dict[str, str], cwd: str, terminal: tuple[int, int] | None) -> "Process":
        """Start a process; raises OSError where there is no such program or folder."""
        if terminal:
            return self._on_terminal(argv, env, cwd, terminal)
        ends = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        try:
            child = subprocess.Popen(argv, env=env, cwd=cwd, stdin=ends[0][0], stdout=ends[1][1], stderr=ends[2][1],
                                     start_new_session=True, preexec_fn=self.confine)
        finally:
            for descriptor in (ends[0][0], ends[1][1], ends[2][1]):
                os.close(descriptor)
        return self._watched(child, ends[0][1], [ends[1][0], ends[2][0]], False)

    def _on_terminal(self, argv: list[str], env: dict[str, str], cwd: str, size: tuple[int, int]) -> "Process":
        ours, theirs = os.openpty()
        os.fchown(theirs, self.who.uid, self.who.gid)
        resize(ours, *size)

        def own() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            self.confine()

        try:
            child = subprocess.Popen(argv, env=env, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs,
                                     start_new_session=True, preexec_fn=own)
        finally:
            os.close(theirs)
        return self._watched(child, ours, [ours], True)

    def _watched(self, child: "subprocess.Popen[bytes]", into: int, out: list[int], terminal: bool) -> "Process":
        # Else the object, when it goes, would wait for the process behind the reaper's back.
        child.returncode = 0
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting[child.pid] = ended
        for descriptor in (into, *out):
            os.set_blocking(descriptor, False)
        return Process(child.pid, into, out, terminal, ended)


class Process:
    """One process and its streams: standard output first, then error; on a terminal the two are one."""

    def __init__(self, pid: int, into: int, out: list[int], terminal: bool, ended: "asyncio.Future[int]") -> None:
        self.pid, self.into, self.out, self.terminal, self.ended = pid, into, out, terminal, ended
        self.closed = False

    async def read(self, number: int) -> AsyncIterator[bytes]:
        """What it writes, until it closes that stream."""
        while True:
            try:
                piece = os.read(self.out[number], CHUNK)
            except BlockingIOError:
                await ready(self.out[number], asyncio.get_running_loop().add_reader)
                continue
            except OSError:
                return
            if not piece:
                return
            yield piece

    async def write(self, piece: bytes) -> None:
        """Give it input; what it no longer takes is dropped."""
        view = memoryview(piece)
        while view and not self.closed:
            try:
                view = view[os.write(self.into, view):]
            except BlockingIOError:
                await ready(self.into, asyncio.get_running_loop().add_writer)
            except OSError:
                return

    def end_input(self) -> None:
        """Close its input. On a terminal no end is delivered: a real gateway does not, either."""
        if not self.terminal and not self.closed:
            self.closed = True
            os.close(self.into)

    async def code(self, streams: "asyncio.Task[Any]") -> int:
        """Its exit code once it and its streams ended; a background job that keeps them open is waited for 3 s."""
        code = await asyncio.shield(self.ended)
        await asyncio.wait([streams], timeout=LINGER_SECONDS)
        return code if code >= 0 else 1

    def kill(self, number: int) -> None:
        if not self.ended.done():
            os.killpg(self.pid, number)


async def ready(descriptor: int, watch: Callable[..., Any]) -> None:
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    watch(descriptor, lambda: waiter.done() or waiter.set_result(None))
    try:
        await waiter
    finally:
        (loop.remove_reader if watch == loop.add_reader else loop.remove_writer)(descriptor)


def resize(descriptor: int, rows: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows or 24, columns or 80, 0, 0))
