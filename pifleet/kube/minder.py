"""Owns a program in a pod, from inside: hands on what the far end sends it, and ends it when the far end is gone.
Runs there as text, with nothing but the standard library; it must not touch what the program reads and writes.

An exec of Kubernetes alone leaves a program behind when its client dies, closes its input when it closes its output
(containerd, issue 13936), and before protocol v5 knows no end of input. Here input comes in pieces, each after its
length (4 bytes, big-endian): the request as JSON, then what the program gets, and no bytes at all for its end. On a
terminal of its own, which it has where the request gives the size, the length SIZE is followed by a new one.
"""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time

GRACE = 10.0
SIZE = 0xFFFFFFFF
SURE = 4096  # what a pipe takes at once when it takes anything (pipe(7), PIPE_BUF)
left = threading.Event()


class Gone(Exception):
    """The far end is no more."""


def main() -> None:
    request = json.loads(exactly(length()))
    at_terminal = request.get("size")
    source = -1
    if at_terminal:
        child, into = pty.fork()
    else:
        source, into = os.pipe()
        child = os.fork()
    if not child:
        become(request, source)
    showing = threading.Thread(target=show, args=(into,), daemon=True)
    if at_terminal:
        resize(into, *at_terminal)
        showing.start()
    else:
        os.close(source)
    farewell = signal.SIGHUP if at_terminal else signal.SIGTERM
    threading.Thread(target=hand_on, args=(into, child, farewell), daemon=True).start()
    _, status = os.waitpid(child, 0)
    if left.is_set():
        kill(child, signal.SIGKILL)  # what it started
    if at_terminal:
        showing.join(1)  # something that it left behind may hold the terminal for ever
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def become(request: dict, source: int) -> None:  # type: ignore[type-arg]
    """The program itself, in a session of its own; its exit code says as a shell's would why it did not start."""
    argv = request["argv"]
    try:
        if source >= 0:
            os.setsid()
            os.dup2(source, 0)
        os.chdir(request["workdir"])
        os.execvp(argv[0], argv)  # noqa: S606 - an argument list, and no shell wanted
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode(errors="replace"))
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def hand_on(into: int, child: int, farewell: int) -> None:
    """Everything that arrives, until the far end goes: then the program does."""
    try:
        while size := length():
            if size == SIZE:
                resize(into, *struct.unpack(">HH", exactly(4)))
            else:
                write(into, exactly(size))
        os.close(into)
        while True:  # nothing comes any more but the end
            exactly(1)
    except Gone:
        end(child, farewell)


def show(terminal: int) -> None:
    """What the program writes on its terminal; reading it fails when nobody has it open any more."""
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 1 << 16):
            while data:
                data = data[os.write(1, data):]


def resize(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def length() -> int:
    return int.from_bytes(exactly(4), "big")


def exactly(size: int) -> bytes:
    parts = []
    while size:
        data = os.read(0, size)
        if not data:
            raise Gone
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def write(into: int, data: bytes) -> None:
    """Write it when the program takes it, and see meanwhile whether the far end goes; what it never takes is lost."""
    poll = select.poll()
    poll.register(into, select.POLLOUT)
    poll.register(0, 0)
    rest = memoryview(data)
    while rest:
        if dict(poll.poll()).get(0):
            raise Gone
        try:
            rest = rest[os.write(into, rest[:SURE]):]
        except OSError:
            return


def end(child: int, farewell: int) -> None:
    left.set()
    kill(child, farewell)
    time.sleep(GRACE)
    kill(child, signal.SIGKILL)


def kill(child: int, how: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(child, how)


if __name__ == "__main__":
    try:
        main()
    except Gone:
        sys.exit(1)
