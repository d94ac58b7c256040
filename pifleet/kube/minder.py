"""Owns a program in a pod, from inside: hands on what the far end sends it, and ends it when the far end is gone.
Runs there as text, with nothing but the standard library; it must not touch what the program writes.

An exec of Kubernetes alone would leave a program behind when its client dies, closes its input when it closes its
output (containerd, issue 13936), and before protocol v5 knows no end of input. Input comes in pieces, each after its
length (4 bytes, big-endian), the first of them the request as JSON; a piece of no bytes is the end of it.
"""

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time

GRACE = 10.0
left = threading.Event()


class Gone(Exception):
    """The far end is no more."""


def main() -> None:
    request = json.loads(piece())
    out, into = os.pipe()
    child = os.fork()
    if not child:
        become(request, out)
    os.close(out)
    threading.Thread(target=hand_on, args=(into, child), daemon=True).start()
    _, status = os.waitpid(child, 0)
    if left.is_set():
        kill(child, signal.SIGKILL)  # what it started
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def become(request: dict, source: int) -> None:  # type: ignore[type-arg]
    """The program itself, in a session of its own; its exit code says as a shell's would why it did not start."""
    argv = request["argv"]
    try:
        os.setsid()
        os.dup2(source, 0)
        os.chdir(request["workdir"])
        os.execvp(argv[0], argv)  # noqa: S606 - an argument list, and no shell wanted
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode(errors="replace"))
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def hand_on(into: int, child: int) -> None:
    """Everything that arrives, until the far end goes: then the program does."""
    try:
        while data := piece():
            write(into, data)
        os.close(into)
        while True:  # nothing comes any more but the end
            exactly(1)
    except Gone:
        end(child)


def piece() -> bytes:
    return exactly(int.from_bytes(exactly(4), "big"))


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
    os.set_blocking(into, False)
    poll = select.poll()
    poll.register(into, select.POLLOUT)
    poll.register(0, 0)
    while data:
        for found, event in poll.poll():
            if found == 0 and event & (select.POLLHUP | select.POLLERR):
                raise Gone
        try:
            data = data[os.write(into, data):]
        except BlockingIOError:
            continue
        except OSError:
            return


def end(child: int) -> None:
    left.set()
    kill(child, signal.SIGTERM)
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
