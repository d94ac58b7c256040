"""Owns the one exec: sends the capture program and its request, hands out the frames of the answer within the limits.
It must not know what the records mean."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pifleet.results.capture import framing
from pifleet.results.incoming.program import NEEDED, Program
from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import said
from pifleet.stream import Stream, StreamTimeout

_PACKAGE = "pifleet.results.capture"
_EARLY = 32_000  # bytes that fit into a pipe beside the program, which is read at once
MODULES = ("framing", "terms", "tool", "packs", "trees", "loose", "stats", "survey", "watch", "place", "keeping",
           "memory", "gitdir", "staging", "repository", "packing", "history", "files", "taking", "snapshot",
           "artifacts", "unit", "workspace", "agent")


def _reply(have: Sequence[str], held: bytes) -> bytes:
    return json.dumps({"have": list(have), "held": base64.b64encode(held).decode()}).encode() + b"\n"


def capture(settings: Mapping[str, Any]) -> Program:
    """The program that answers; its settings are those of capture/agent.py."""
    return Program(_PACKAGE, Path(__file__).parents[1] / "capture", MODULES, settings)


class Transfer:
    """Reads one answer; `received` counts its bytes. Every failure is a Refusal."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        self.received = 0
        self.limits = limits
        self._stream = stream
        self._ends = time.monotonic() + limits.total
        self._buffer = memoryview(b"")
        self._digest = hashlib.sha256()
        self._program: Program | None = None

    def ask(self, program: Program, request: str, *, first: bool = False) -> None:
        """Start the program. Where it is the `first` time the program goes along, which saves a turn."""
        self.send(program.call(request, kept=not first) + (program.whole() if first else b""))
        self._program = None if first else program

    def provide(self) -> None:
        """Let the program itself follow if the far end lacks it."""
        if self._there()[:1] == NEEDED:
            self._some(1)
            if self._program:
                self.send(self._program.whole())

    def reply(self, have: Sequence[str], held: bytes) -> None:
        """Answer the far end's question: ids of commits that are here, and 20 byte ids of objects that came before."""
        self.send(_reply(have, held))

    def reply_early(self, have: Sequence[str], held: bytes) -> bool:
        """The same before the question, which saves a turn; False where it is too much to lie in a pipe till then."""
        data = _reply(have, held)
        if early := len(data) <= _EARLY:
            self.send(data)
        return early

    def send(self, data: bytes) -> None:
        """Send it all; a far end that takes nothing is cut off after the idle time. Raises Refusal: timeout.idle."""
        late = threading.Event()

        def cut_off() -> None:
            late.set()
            self._stream.close()

        watch = threading.Timer(self.limits.idle, cut_off)
        watch.start()
        try:
            self._stream.send(data)
        except (OSError, ValueError):
            if late.is_set():
                raise Refusal("timeout.idle", f"the sandbox took no bytes for {self.limits.idle:g} s") from None
            # A program that ended early has said why on its standard output and error.
        finally:
            watch.cancel()

    def frames(self) -> Iterator[tuple[bytes, bytes | memoryview]]:
        """(type, payload) of every frame before the end mark, which is checked here; `last_words` are to follow.

        One of data comes in the parts that arrive: of hundreds of megabytes every copy counts.
        """
        self._magic()
        count = words = 0
        while True:
            head = b"".join(self._parts(framing.HEAD))
            kind, size = head[:1], struct.unpack(">I", head[1:])[0]
            if size > self.limits.frame:
                raise Refusal("limit.frame", f"a frame of {size} bytes; at most {self.limits.frame} are taken")
            if kind == b"D" and size:
                self._digest.update(head)  # a pack ends with a digest of its own
                yield from ((kind, part) for part in self._parts(size))
                continue
            payload = b"".join(self._parts(size))
            if kind == b"Z":
                break
            count, words = count + 1, words + size
            if count > self.limits.records or words > self.limits.words:
                raise Refusal("limit.records", f"{count} records of {words} bytes; that is more than is taken")
            self._digest.update(head + payload)
            yield kind, payload
        from pifleet.results.incoming import records

        if records.end(payload, self.limits.record).sha256 != self._digest.hexdigest():
            raise Refusal("proto.digest", "the digest of the whole answer differs")

    def _magic(self) -> None:
        seen = b""
        while len(seen) < len(framing.MAGIC) and (more := self._some(len(framing.MAGIC) - len(seen))):
            seen += more
        if seen == framing.MAGIC:
            return
        if framing.MAGIC.startswith(seen):
            self._silent()
        seen += self._buffer[:200]
        raise Refusal("proto.magic", f"the answer begins with other text: {said(seen.decode('utf-8', 'replace'), 80)}")

    def _silent(self) -> None:
        """No answer at all: the exit code and standard error know why."""
        code, errors = self._exit_code(), said(self._stream.stderr().decode("utf-8", "replace").strip()[-300:])
        if code in (126, 127):
            raise Refusal("capture.tool", f"no python3 in the sandbox (exit code {code}): {errors}")
        raise Refusal("proto.cut", f"the sandbox gave no answer (exit code {code}): {errors or 'no words'}")

    def last_words(self) -> None:
        """Wait for the silence after the end mark, and for the program's good end. Raises Refusal: proto, timeout."""
        if self._buffer or self._some(1):
            raise Refusal("proto.junk", "there are bytes after the end of the answer")
        code = self._exit_code()
        if code:
            raise Refusal("proto.exit", f"the capture ended with exit code {code}")

    def _exit_code(self) -> int:
        self._stream.end()  # one that still waits for a word of ours shall not
        try:
            return self._stream.wait(self.patience())
        except StreamTimeout:
            raise Refusal("timeout.idle", "the capture does not end") from None

    def patience(self) -> float:
        """Seconds to wait for the next byte, either way. Raises Refusal: timeout.total."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise Refusal("timeout.total", f"not done after {self.limits.total:g} s")
        return min(left, self.limits.idle)

    def _there(self) -> memoryview:
        """What has arrived, at least one byte of it before the end."""
        if not self._buffer:
            try:
                self._buffer = memoryview(self._stream.read(framing.CHUNK, self.patience()))
            except StreamTimeout:
                self.patience()
                raise Refusal("timeout.idle", f"nothing arrived for {self.limits.idle:g} s") from None
            self.received += len(self._buffer)
            if self.received > self.limits.wire:
                raise Refusal("limit.wire", f"more than {self.limits.wire} bytes")
        return self._buffer

    def _some(self, most: int) -> memoryview:
        data = self._there()[:most]
        self._buffer = self._buffer[most:]
        return data

    def _parts(self, size: int) -> Iterator[memoryview]:
        """So many bytes, as they arrive."""
        while size:
            part = self._some(size)
            if not part:
                raise Refusal("proto.cut", f"the answer is cut off after {self.received} bytes: {self._errors()}")
            size -= len(part)
            yield part

    def _errors(self) -> str:
        return said(self._stream.stderr().decode("utf-8", "replace").strip()[-300:]) or "no words"
