"""Owns a program that runs in a pod, as a `pifleet.stream.Stream` over the exec of Kubernetes.
It must not know what the program is for, and takes no silence for success."""

from __future__ import annotations

import json
import math
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pifleet.kube.client import Api, path
from pifleet.kube.ending import BROKEN, Words, outcome
from pifleet.kube.minder import SIZE, WINDOW
from pifleet.kube.wire import Wire
from pifleet.stream import STDERR_KEPT, StreamTimeout

# Channels and protocols of an exec over a WebSocket (k8s.io/streaming, "remotecommand").
STDIN, STDOUT, STDERR, STATUS = range(4)
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
CHUNK = 1 << 15
# What nobody has read of standard output; beyond it a program has to wait, as at a pipe.
UNREAD = 4 << 20
# Takes the minder's text from standard input, so that neither it nor what it starts is in a URL or an audit log.
_START = """\
import os
n=int(os.read(0,8));s=b""
while len(s)<n:s+=os.read(0,n-len(s))
exec(s)"""
Keep = Callable[[bytes], None]
MINDED = ("python3", "-I", "-S", "-c", _START)


@dataclass(frozen=True)
class Pod:
    """A container of a pod, by names."""

    namespace: str
    name: str
    container: str


def start(api: Api, pod: Pod, argv: Sequence[str], workdir: str, *, errors: Keep | None = None,
          size: tuple[int, int] | None = None) -> Exec:
    """Start `argv` in a pod; it ends with this process or the connection.

    What it writes to standard error goes to `errors`, where that is given, instead of being kept. With a `size` (rows
    and columns) it has a terminal. Raises HostFailed, as ApiRefused where the server did not let it begin.
    """
    query = [("container", pod.container), *((name, "true") for name in ("stdin", "stdout", "stderr")),
             *(("command", word) for word in MINDED)]
    stream = Exec(Wire.to(api, path("v1", "pods", pod.namespace, pod.name, "exec"), query, PROTOCOLS), errors)
    stream.begin({"argv": list(argv), "workdir": workdir, "size": size})
    return stream


class Exec:
    """A Stream over an exec that a minder holds inside; see pifleet.stream.Stream.

    One thread may send while another reads or waits; whoever of them waits takes for both what arrives.
    """

    def __init__(self, wire: Wire, errors: Keep | None = None) -> None:
        self._wire = wire
        self._keep = errors or self._remember
        self._out: deque[memoryview] = deque()
        self._unread = 0
        self._err = b""
        self._status = b""
        self._words = Words()
        self._received = self._sent = 0
        self._code: int | None = None
        self._ended = self._taking = False
        self._turn = threading.Condition()

    def begin(self, request: Mapping[str, Any]) -> None:
        """Send the minder and what it is to do; where it cannot be started, what is read next says why."""
        text = minder()
        marked = {**request, "mark": self._words.mark.decode()}
        with suppress(BrokenPipeError):
            self._put(b"%8d" % len(text) + text + _piece(json.dumps(marked).encode()))

    def resize(self, rows: int, columns: int) -> None:
        """Tell the program's terminal."""
        with suppress(BrokenPipeError):
            self._put(struct.pack(">IHH", SIZE, rows, columns))

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), CHUNK):
            piece = data[at:at + CHUNK]
            self._sent += len(piece)
            self._until(lambda: self._sent - self._words.taken <= WINDOW)
            if self._ended:
                raise BrokenPipeError("the program has ended")
            self._put(_piece(piece))

    def end(self) -> None:
        with suppress(BrokenPipeError):
            self._put(_piece(b""))

    def read(self, size: int, timeout: float) -> bytes:
        self._until(lambda: bool(self._out), time.monotonic() + timeout)
        with self._turn:
            data = b"".join(_first(self._out, size))
            self._unread -= len(data)
            self._turn.notify_all()
        return data

    def wait(self, timeout: float) -> int:
        self._until(lambda: False, time.monotonic() + timeout)
        return BROKEN if self._code is None else self._code

    def stderr(self) -> bytes:
        return self._err

    def close(self) -> None:
        self._wire.close()
        with self._turn:
            self._ended = True
            self._turn.notify_all()

    def _put(self, data: bytes) -> None:
        self._wire.send(bytes([STDIN]) + data)

    def _until(self, done: Callable[[], bool], deadline: float = math.inf) -> None:
        """Take what arrives until `done` or the end. Raises StreamTimeout."""
        with self._turn:
            while not (done() or self._ended):
                left = max(0.0, deadline - time.monotonic())
                if self._taking or self._unread > UNREAD:
                    self._turn.wait(min(left, threading.TIMEOUT_MAX))
                else:
                    self._take(left)
                if not left and not (done() or self._ended):
                    raise StreamTimeout

    def _take(self, seconds: float) -> None:
        """What arrives next. Others may look meanwhile, and are told."""
        self._taking = True
        self._turn.release()
        try:
            said, broken = self._wire.receive(seconds), ""
        except ConnectionError as error:
            said, broken = [], str(error)
        finally:
            self._turn.acquire()
            self._taking = False
        try:
            self._sort(said)
        except ConnectionError as error:
            broken = str(error)
        if broken and not self._ended:
            self._keep(f"the connection to the cluster broke: {broken}\n".encode())
            self._ended = True
        self._turn.notify_all()

    def _sort(self, said: Sequence[bytes]) -> None:
        for message in filter(None, said):
            channel, data = message[0], memoryview(message)[1:]
            if channel == STDOUT and data:
                self._out.append(data)
                self._unread += len(data)
                self._received += len(data)
            elif channel == STDERR and (own := self._words.feed(bytes(data))):
                self._keep(own)
            elif channel == STATUS:
                self._status += data
        self._settle()

    def _settle(self) -> None:
        """Look whether it has ended: by the minder's word and with all that the program wrote, or without a word."""
        if end := self._words.end:
            if self._received >= end.output:
                self._code = end.code
                self._ended = True
        elif self._status and (found := outcome(self._status)):
            code, why = found
            self._code = code or BROKEN  # a good end without the minder's word is none
            self._keep((why or ("" if code else "the end of what the program wrote is lost")).encode())
            self._ended = True

    def _remember(self, data: bytes) -> None:
        self._err = (self._err + data)[-STDERR_KEPT:]


def _first(parts: deque[memoryview], size: int) -> Iterator[memoryview]:
    """Take at most `size` bytes off the front."""
    while parts and size:
        part = parts.popleft()
        if len(part) > size:
            parts.appendleft(part[size:])
        yield part[:size]
        size -= min(size, len(part))


@cache
def minder() -> bytes:
    return (Path(__file__).parent / "minder.py").read_bytes()


def _piece(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
