"""Owns a program that runs in a pod, as a `pifleet.stream.Stream` over the exec of Kubernetes.
It must not know what the program is for, and takes no silence for success."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pifleet.kube.client import Api, path
from pifleet.kube.wire import Wire
from pifleet.stream import STDERR_KEPT, StreamTimeout

# Channels and protocols of an exec over a WebSocket (k8s.io/streaming, "remotecommand").
STDIN, STDOUT, STDERR, STATUS, RESIZE = range(5)
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
CHUNK = 1 << 15
BROKEN = 255
# What nobody has read of standard output; beyond it a program has to wait, as at a pipe.
UNREAD = 4 << 20
# Takes the minder's text from standard input, so that neither it nor what it starts is in a URL or an audit log.
_START = """\
import os
n=int(os.read(0,8));s=b""
while len(s)<n:s+=os.read(0,n-len(s))
exec(s)"""
MINDED = ("python3", "-I", "-S", "-c", _START)


@dataclass(frozen=True)
class Pod:
    """A container of a pod, by names."""

    namespace: str
    name: str
    container: str


def opened(api: Api, pod: Pod, argv: Sequence[str], *, tty: bool = False) -> Wire:
    """Start `argv` in a pod and hand out its channels. Raises HostFailed, as ApiRefused for an answer that is one."""
    query = [("container", pod.container), ("stdin", "true"), ("stdout", "true"),
             ("tty", "true") if tty else ("stderr", "true"), *(("command", word) for word in argv)]
    return Wire.to(api, path("v1", "pods", pod.namespace, pod.name, "exec"), query, PROTOCOLS)


def start(api: Api, pod: Pod, argv: Sequence[str], workdir: str) -> Exec:
    """Start `argv` in a pod; it ends with this process or the connection. Raises HostFailed."""
    stream = Exec(opened(api, pod, MINDED))
    stream.begin(argv, workdir)
    return stream


class Exec:
    """A Stream over an exec that a minder holds inside; see pifleet.stream.Stream.

    Only whoever reads or waits takes anything off the connection: one thread. Another may send.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._out: deque[memoryview] = deque()
        self._unread = 0
        self._err = b""
        self._status = b""
        self._code: int | None = None
        self._ended = threading.Event()

    def begin(self, argv: Sequence[str], workdir: str) -> None:
        text = minder()
        request = json.dumps({"argv": list(argv), "workdir": workdir}).encode()
        self._put(b"%8d" % len(text) + text + _piece(request))

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), CHUNK):
            if self._ended.is_set():
                raise BrokenPipeError("the program has ended")
            self._put(_piece(data[at:at + CHUNK]))

    def end(self) -> None:
        if not self._ended.is_set():
            try:
                self._put(_piece(b""))
            except BrokenPipeError:
                return

    def read(self, size: int, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while not self._out:
            if self._ended.is_set():
                return b""
            self._take(deadline)
        first = self._out.popleft()
        if len(first) > size:
            self._out.appendleft(first[size:])
        data = bytes(first[:size])
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
        """Sort what arrives. Raises StreamTimeout."""
        try:
            said = self._wire.receive(max(0.0, deadline - time.monotonic()))
        except ConnectionError as error:
            self._broken(str(error))
            return
        if not said:
            raise StreamTimeout
        for message in said:
            channel, data = message[:1], message[1:]
            if channel == bytes([STDOUT]) and data:
                self._out.append(memoryview(data))
                self._unread += len(data)
            elif channel == bytes([STDERR]):
                self._keep(data)
            elif channel == bytes([STATUS]):
                self._status += data
                self._settle()

    def _settle(self) -> None:
        found = outcome(self._status)
        if found:
            self._code, words = found
            self._keep(words.encode())
            self._ended.set()

    def _broken(self, why: str) -> None:
        self._keep(f"the connection to the cluster broke: {why}\n".encode())
        self._ended.set()

    def _keep(self, data: bytes) -> None:
        self._err = (self._err + data)[-STDERR_KEPT:]


def outcome(status: bytes) -> tuple[int, str] | None:
    """Exit code, and words where no program ran, of what the status channel said; None while that is not all.

    It is a Status of Kubernetes' API: "Success", or a failure with the exit code among its causes, or one without.
    """
    try:
        said = json.loads(status)
        if said["status"] == "Success":
            return 0, ""
        causes = (said.get("details") or {}).get("causes") or ()
        codes = [one.get("message") for one in causes if one.get("reason") == "ExitCode"]
        if codes:
            return int(codes[0]), ""
        words = str(said.get("message") or said.get("reason") or "no reason was given")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if "executable file not found" in words or "no such file or directory" in words:
        return 127, f"{words}\n"
    return (126 if "permission denied" in words else BROKEN), f"{words}\n"


@cache
def minder() -> bytes:
    return (Path(__file__).parent / "minder.py").read_bytes()


def _piece(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
