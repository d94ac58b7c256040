"""Owns a program that runs in a pod, as a `pifleet.stream.Stream` over the exec of Kubernetes.
It must not know what the program is for, and takes no silence for success."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pifleet.kube.client import Api, path
from pifleet.kube.ending import BROKEN, Ending, outcome
from pifleet.kube.minder import SIZE
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

    Only whoever reads or waits takes anything off the connection: one thread. Another may send.
    """

    def __init__(self, wire: Wire, errors: Keep | None = None) -> None:
        self._wire = wire
        self._keep = errors or self._remember
        self._out: deque[memoryview] = deque()
        self._unread = 0
        self._err = b""
        self._status = b""
        self._ending = Ending()
        self._received = 0
        self._code: int | None = None
        self._ended = threading.Event()

    def begin(self, request: Mapping[str, Any]) -> None:
        """Send the minder and what it is to do."""
        text = minder()
        marked = {**request, "mark": self._ending.mark.decode()}
        self._put(b"%8d" % len(text) + text + _piece(json.dumps(marked).encode()))

    def resize(self, rows: int, columns: int) -> None:
        """Tell the program's terminal."""
        with suppress(BrokenPipeError):
            self._put(struct.pack(">IHH", SIZE, rows, columns))

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), CHUNK):
            if self._ended.is_set():
                raise BrokenPipeError("the program has ended")
            self._put(_piece(data[at:at + CHUNK]))

    def end(self) -> None:
        with suppress(BrokenPipeError):
            self._put(_piece(b""))

    def read(self, size: int, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while not self._out:
            if self._ended.is_set():
                return b""
            self._take(deadline)
        taken = [self._out.popleft()]
        left = size - len(taken[0])
        while left > 0 and self._out:
            taken.append(self._out.popleft())
            left -= len(taken[-1])
        if left < 0:
            self._out.appendleft(taken[-1][left:])
            taken[-1] = taken[-1][:left]
        data = b"".join(taken)
        self._unread -= len(data)
        return data

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while not self._ended.is_set():
            if self._unread > UNREAD:
                time.sleep(max(0.0, deadline - time.monotonic()))
                raise StreamTimeout
            self._take(deadline)
        return BROKEN if self._code is None else self._code

    def stderr(self) -> bytes:
        return self._err

    def close(self) -> None:
        self._wire.close()
        self._ended.set()

    def _put(self, data: bytes) -> None:
        self._wire.send(bytes([STDIN]) + data)

    def _take(self, deadline: float) -> None:
        """What arrives next. Raises StreamTimeout."""
        try:
            said = self._wire.receive(max(0.0, deadline - time.monotonic()))
            if not said:
                raise StreamTimeout
            self._sort(said)
        except ConnectionError as error:
            self._broken(str(error))

    def _sort(self, said: Sequence[bytes]) -> None:
        for message in said:
            channel, data = message[:1], message[1:]
            if channel == bytes([STDOUT]) and data:
                self._out.append(memoryview(data))
                self._unread += len(data)
                self._received += len(data)
            elif channel == bytes([STDERR]) and (own := self._ending.feed(data)):
                self._keep(own)
            elif channel == bytes([STATUS]):
                self._status += data
        self._settle()

    def _settle(self) -> None:
        """Look whether it has ended: by the minder's word and with all that the program wrote, or without a word."""
        if word := self._ending.word:
            if self._received >= word.output:
                self._code = word.code
                self._ended.set()
        elif self._status and (found := outcome(self._status)):
            code, why = found
            self._code = code or BROKEN  # a good end without the minder's word is none
            self._keep((why or ("" if code else "the end of what the program wrote is lost")).encode())
            self._ended.set()

    def _broken(self, why: str) -> None:
        self._keep(f"the connection to the cluster broke: {why}\n".encode())
        self._ended.set()

    def _remember(self, data: bytes) -> None:
        self._err = (self._err + data)[-STDERR_KEPT:]


@cache
def minder() -> bytes:
    return (Path(__file__).parent / "minder.py").read_bytes()


def _piece(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
