"""Owns what goes out in a return: records and packs as frames, each followed by the digest of all before it.
It must not know what they mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pifleet.results.capture.framing import frame
from pifleet.results.incoming.program import Program
from pifleet.results.incoming.transfer import MODULES, Transfer
from pifleet.results.limits import Limits
from pifleet.results.outgoing import records
from pifleet.stream import Stream

_PACKAGE = "pifleet.results"
_INSIDE = ("receiving", "history", "look", "pristine", "content", "writer", "making", "placing", "beside", "agent")
_MODULES = (*(f"capture.{name}" for name in MODULES), *(f"outgoing.inside.{name}" for name in _INSIDE))


def returning(settings: Mapping[str, Any]) -> Program:
    """The program that puts units into place; its settings are those of outgoing/inside/agent.py."""
    return Program(_PACKAGE, Path(__file__).parents[1], _MODULES, settings)


class Sending(Transfer):
    """One return in both directions; `sent` counts bytes. Every failure is a Refusal."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        super().__init__(stream, limits)
        self.sent = 0
        self._out = hashlib.sha256()

    def replies(self) -> Iterator[records.AnyRecord]:
        """What the far end says, to its end mark."""
        for _, payload in self.frames():
            yield records.record(bytes(payload), self.limits.record)
        self.last_words()

    def record(self, **told: Any) -> None:
        self._frame(b"J", json.dumps(told, separators=(",", ":")).encode())
        self._seal()

    def pack(self, data: Iterable[bytes]) -> Iterator[int]:
        """Send a pack as it is made; yields the bytes sent so far."""
        for chunk in data:
            self._frame(b"D", chunk)
            yield self.sent
        self._seal()

    def _seal(self) -> None:
        self._frame(b"E", self._out.hexdigest().encode())

    def _frame(self, kind: bytes, payload: bytes) -> None:
        self.patience()
        data = frame(kind, payload)
        self._out.update(data)
        self.send(data)
        self.sent += len(data)
