"""Owns the form of the answer: magic, frames, sections, the end mark. It must not know what the records say.

The answer is MAGIC and then frames: one byte of type, four of length (big endian), the payload.
  J  one record (JSON)     D  bytes of a pack     E  ends a section of at most SECTION bytes with its sha256
  Z  ends the answer with the sha256 of all frames before it
Names are bytes and need not be UTF-8, so they travel as text of one character per byte (latin-1).
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
import time
from collections.abc import Iterable
from typing import IO, Any

MAGIC = b"PIFLEET-RESULTS 1\n"
SECTION = 8_000_000
CHUNK = 1 << 20
BATCH = 24_000  # a record's list is cut here, far below the 64 KiB that the receiver takes
ALIVE_SECONDS = 5


def text_of(name: bytes) -> str:
    return name.decode("latin-1")


def frame(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack(">I", len(payload)) + payload


class Answer:
    """Writes the answer; a second thread keeps it alive while git or a big file takes its time."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._lock, self._digest, self._open = out, threading.Lock(), hashlib.sha256(), True
        out.write(MAGIC)
        out.flush()
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def _frame(self, kind: bytes, payload: bytes) -> None:
        with self._lock:
            if self._open:
                data = frame(kind, payload)
                self._digest.update(data)
                self._out.write(data)
                self._out.flush()

    def record(self, **fields: Any) -> None:
        self._frame(b"J", json.dumps(fields).encode())

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

    def data(self, source: IO[bytes]) -> None:
        """Everything of `source`, as sections."""
        while True:
            digest, size = hashlib.sha256(), 0
            while size < SECTION and (chunk := source.read(min(CHUNK, SECTION - size))):
                digest.update(chunk)
                size += len(chunk)
                self._frame(b"D", chunk)
            if size:
                self._frame(b"E", json.dumps({"bytes": size, "sha256": digest.hexdigest()}).encode())
            if size < SECTION:
                return

    def end(self) -> None:
        with self._lock:
            self._open = False
            self._out.write(frame(b"Z", json.dumps({"sha256": self._digest.hexdigest()}).encode()))
            self._out.flush()

    def _keep_alive(self) -> None:
        while self._open:
            time.sleep(ALIVE_SECONDS)
            try:
                self.record(kind="alive")
            except (OSError, ValueError):
                return  # the reader is gone; the main thread finds out at its next frame
