"""Owns the form of the answer: magic, frames, sections, the end mark. It must not know what the records say.

The answer is MAGIC and then frames: one byte of type, four of length (big endian), the payload.
  J  one record (JSON)     D  bytes of a pack     E  ends a section (at most SECTION bytes and one object more)
  Z  ends the answer with the sha256 of all frames before it but the bytes of packs, each of which ends with its SHA-1
A pack is one section or several; `pack` in the E record says whether it goes on ("more"), is "whole" or "broken", or
is whole in this one section and holds nothing but "files".
Names are bytes and need not be UTF-8, so they travel as text of one character per byte (latin-1).
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import IO, Any

MAGIC = b"PIFLEET-RESULTS 3\n"
SECTION = 8_000_000
CHUNK = 1 << 20
HEAD = 5  # bytes of a frame before its payload
BATCH = 24_000  # a record's list is cut here, far below the 64 KiB that the receiver takes
ALIVE_SECONDS = 5


def text_of(name: bytes) -> str:
    return name.decode("latin-1")


def frame(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack(">I", len(payload)) + payload


def state_of(units: Iterable[tuple[str, str]]) -> str:
    """The digest by which both ends name everything of a sandbox, from (key, state) of its units; "" for none."""
    told = sorted(units)
    return hashlib.sha256(json.dumps(told).encode()).hexdigest() if told else ""


class Section:
    """`frame` sends one frame, `size` counts bytes. One of no bytes is not to be ended, for it was not begun."""

    def __init__(self, frame: Callable[[bytes, bytes], None]) -> None:
        self.size = 0
        self._frame = frame

    def write(self, data: bytes) -> None:
        for at in range(0, len(data), CHUNK):
            self._frame(b"D", data[at : at + CHUNK])
        self.size += len(data)

    def end(self, pack: str) -> None:
        self._frame(b"E", json.dumps({"bytes": self.size, "pack": pack}, separators=(",", ":")).encode())


class Answer:
    """Writes the answer; a second thread keeps it alive, and says what is being done, while that takes its time."""

    def __init__(self, out: IO[bytes]) -> None:
        self.doing = ""
        self._out, self._lock, self._digest, self._open = out, threading.Lock(), hashlib.sha256(), True
        out.write(MAGIC)
        out.flush()
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def _frame(self, kind: bytes, payload: bytes) -> None:
        with self._lock:
            if self._open:
                data = frame(kind, payload)
                self._digest.update(data[:HEAD] if kind == b"D" else data)
                self._out.write(data)
                self._out.flush()

    def record(self, **fields: Any) -> None:
        self._frame(b"J", json.dumps(fields, separators=(",", ":")).encode())

    def records(self, kind: str, items: Iterable[Any]) -> None:
        """A list of any length, as records of bounded size."""
        batch: list[Any] = []
        size = 0
        for item in items:
            batch.append(item)
            size += len(json.dumps(item))
            if size > BATCH:
                self.record(kind=kind, items=batch)
                batch, size = [], 0
        if batch:
            self.record(kind=kind, items=batch)

    def section(self, data: bytes, pack: str) -> None:
        """One section that is a pack, "whole" or of "files"."""
        section = Section(self._frame)
        section.write(data)
        section.end(pack)

    def open(self) -> Section:
        """A section that is written bit by bit; no record may be sent before it is ended."""
        return Section(self._frame)

    def end(self) -> None:
        with self._lock:
            self._open = False
            self._out.write(frame(b"Z", json.dumps({"sha256": self._digest.hexdigest()}).encode()))
            self._out.flush()

    def _keep_alive(self) -> None:
        while self._open:
            time.sleep(ALIVE_SECONDS)
            try:
                self.record(kind="alive", doing=self.doing[:200])
            except (OSError, ValueError):
                return  # the reader is gone; the main thread finds out at its next frame
