"""Owns a program in a pod, from inside: hands on what the far end sends it, and ends it when the far end is gone.
Runs there as text, with nothing but the standard library; it must not touch what the program reads and writes.

An exec of Kubernetes alone leaves a program behind when its client dies, closes its input when it closes its output
(containerd, issue 13936), and before protocol v5 knows no end of input. Here input comes in pieces, each after its
length (4 bytes, big-endian): the request as JSON, then what the program gets, and no bytes at all for its end. On a
terminal of its own, which it has where the request gives the size, the length SIZE is followed by a new one.

The end of output may get lost on the way when a program ends (kubernetes, issue 124571). So standard error
ends with the request's mark, the exit code and how many bytes of output there were, and all of it waits to be taken.
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
LINGER = 60.0
CHUNK = 1 << 16
SIZE = 0xFFFFFFFF
SURE = 4096  # what a pipe takes at once when it takes anything (pipe(7), PIPE_BUF)
left, over = threading.Event(), threading.Event()


class Gone(Exception):
    """The far end is no more."""


def main() -> None:
    request = json.loads(exactly(length()))
    at_terminal = request.get("size")
    if at_terminal:
        child, terminal = pty.fork()
        into, out, theirs = terminal, terminal, []
    else:
        (source, into), (out, sink) = os.pipe(), os.pipe()
        theirs = [source, sink]
        child = os.fork()
    if not child:
        become(request, theirs)
    for number in theirs:
        os.close(number)
    if at_terminal:
        resize(into, *at_terminal)
    farewell = signal.SIGHUP if at_terminal else signal.SIGTERM
    far = threading.Thread(target=hand_on, args=(into, child, farewell), daemon=True)
    far.start()
    ended, tell = os.pipe()
    threading.Thread(target=wait_for, args=(child, tell), daemon=True).start()
    count = show(out, ended)
    status = int(os.read(ended, 20))
    over.set()
    code = os.waitstatus_to_exitcode(status)
    code = code if code >= 0 else 128 - code
    if left.is_set():
        kill(child, signal.SIGKILL)  # what it started
    else:
        os.write(2, f"{request['mark']}{code} {count}\n".encode())
        far.join(LINGER)
    os._exit(code)


def become(request: dict, ends: list) -> None:  # type: ignore[type-arg]
    """The program itself, in a session of its own; its exit code says as a shell's would why it did not start."""
    argv = request["argv"]
    try:
        if ends:
            os.setsid()
        for number, end in enumerate(ends):
            os.dup2(end, number)
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
        if not over.is_set():
            end(child, farewell)


def wait_for(child: int, tell: int) -> None:
    _, status = os.waitpid(child, 0)
    os.write(tell, b"%d" % status)


def show(out: int, ended: int) -> int:
    """Write what the program writes, and count it, until it has ended and nothing is left.

    What it leaves behind may hold its output open for ever, and is not waited for.
    """
    poll = select.poll()
    poll.register(out, select.POLLIN)
    poll.register(ended, select.POLLIN)
    count = 0
    while out in (ready := dict(poll.poll())) or ended not in ready:
        try:
            data = os.read(out, CHUNK)
            count += len(data)
            if not data:
                break
            while data:
                data = data[os.write(1, data):]
        except OSError:  # nobody has the terminal open any more, or nobody takes it
            break
    return count


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
