"""Owns a longer way to a program: passes its bytes on after a delay, counts them, and hands on its exit code.
It must not know what the bytes mean, nor limit how many pass in a second.

    relay.py --rtt MILLISECONDS --count FILE -- COMMAND [ARGUMENT]...

One line of JSON is added to FILE for each command: the bytes of its arguments, of its input and of its output.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from typing import IO

PIPE = 1 << 20
# What may be on its way at once: enough for 1 GB/s at 25 ms; beyond it the sender waits, as on any network.
WINDOW = 32 << 20
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ


class Pump:
    """Moves everything from one descriptor to another, `delay` seconds late; its end arrives late too."""

    def __init__(self, source: int, sink: int, delay: float) -> None:
        self.count = 0
        self.broken = False
        self._source, self._sink, self._delay = source, sink, delay
        self._way: deque[tuple[float, bytes]] = deque()
        self._on_way = 0
        self._changed = threading.Condition()
        for end in (source, sink):
            os.set_blocking(end, True)  # rsync hands over sockets that are not
            with contextlib.suppress(OSError):  # a socket has no such size
                fcntl.fcntl(end, _SET_PIPE_SIZE, PIPE)

    def start(self) -> threading.Thread:
        """Both halves, as threads; the one that delivers, which ends last."""
        threading.Thread(target=self._take, daemon=True).start()
        giving = threading.Thread(target=self._give, daemon=True)
        giving.start()
        return giving

    def _take(self) -> None:
        data = b"first"
        while data:
            try:
                data = os.read(self._source, PIPE)
            except ConnectionError:
                data = b""
            self.count += len(data)
            with self._changed:
                self._changed.wait_for(lambda: self._on_way < WINDOW)
                self._way.append((time.monotonic() + self._delay, data))
                self._on_way += len(data)
                self._changed.notify_all()

    def _give(self) -> None:
        try:
            while data := self._next():
                view = memoryview(data)
                while view:
                    view = view[os.write(self._sink, view) :]
        except ConnectionError:
            self.broken = True

    def _next(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._way)
            due, data = self._way.popleft()
            self._on_way -= len(data)
            self._changed.notify_all()
        time.sleep(max(0.0, due - time.monotonic()))
        return data


def _close_after(thread: threading.Thread, pipe: IO[bytes]) -> None:
    thread.join()
    with contextlib.suppress(BrokenPipeError):
        pipe.close()


def main(words: list[str]) -> int:
    at = words.index("--")
    options, command = dict(zip(words[:at:2], words[1:at:2], strict=True)), words[at + 1 :]
    delay = float(options["--rtt"]) / 2000
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert child.stdin
    assert child.stdout
    there, back = Pump(0, child.stdin.fileno(), delay), Pump(child.stdout.fileno(), 1, delay)
    asking, answering = there.start(), back.start()
    threading.Thread(target=_close_after, args=(asking, child.stdin), daemon=True).start()
    answering.join()
    if back.broken:
        child.terminate()
    code = child.wait()
    told = {"command": sum(len(os.fsencode(word)) + 1 for word in command), "input": there.count, "output": back.count}
    with open(options["--count"], "a") as file:
        file.write(json.dumps(told) + "\n")
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # at once: a thread may still wait for input that nobody wants
