"""Owns a program in a pod, from inside: hands on what the far end sends it, and ends it when the far end is gone.
Runs there as text, with nothing but the standard library; it must not touch what the program reads and writes.

An exec of Kubernetes alone leaves a program behind when its client dies, closes its input when it closes its output
(containerd, issue 13936), and before protocol v5 knows no end of input. Here input comes in pieces, each after its
length (4 bytes, big-endian): the request as JSON, then what the program gets, and no bytes at all for its end. On a
terminal of its own, which it has where the request gives the size, the length SIZE is followed by a new one. All of it
is read at once, or the end of it would be hidden behind what the program does not take; so the far end sends no more
than WINDOW bytes beyond those that, with the request's mark before it, standard error says the program took.

The end of output may get lost on the way when a program ends (kubernetes, issue 124571). So standard error
ends with the mark, the exit code and how many bytes of output there were, and all of it waits to be taken.
"""

import contextlib
import fcntl
import json
import os
import pty
import queue
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
WINDOW = 4 << 20
TOLD = WINDOW // 8
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
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    farewell = signal.SIGHUP if at_terminal else signal.SIGTERM
    far = threading.Thread(target=take_in, args=(waiting, into, child, farewell), daemon=True)
    far.start()
    threading.Thread(target=hand_on, args=(waiting, into, request["mark"], not at_terminal), daemon=True).start()
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
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_DFL)  # Python ignores some, and whoever started it may have others
        os.chdir(request["workdir"])
        os.execvp(argv[0], argv)  # noqa: S606 - an argument list, and no shell wanted
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode(errors="replace"))
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def take_in(waiting: queue.SimpleQueue[bytes], into: int, child: int, farewell: int) -> None:
    """Everything that arrives, until the far end goes: then the program does."""
    try:
        while size := length():
            if size == SIZE:
                resize(into, *struct.unpack(">HH", exactly(4)))
            else:
                waiting.put(exactly(size))
        waiting.put(b"")
        while True:  # nothing comes any more but the end
            exactly(1)
    except Gone:
        if not over.is_set():
            end(child, farewell)


def hand_on(waiting: queue.SimpleQueue[bytes], into: int, mark: str, ends: bool) -> None:
    """Give it to the program as it takes it, and say so; what it never takes is lost."""
    taken = 0
    while data := waiting.get():
        taken += len(data)
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(into, data):]
        if taken >= TOLD:
            os.write(2, f"{mark}+{taken}\n".encode())
            taken = 0
    if ends:
        os.close(into)


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
