"""Owns the way into the measured sandbox: the relay in front of every command, and what passed through it.
It must not know which method uses it."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.place import PYTHON

_RELAY = Path(__file__).with_name("relay.py")


@dataclass(frozen=True)
class Run:
    """One run of one method: seconds of wall clock, bytes both ways (arguments of the far commands count too)."""

    seconds: float
    bytes: int


class Link:
    """`rtt` in milliseconds; `folder` is where the count is kept."""

    def __init__(self, rtt: int, folder: Path) -> None:
        self.rtt = rtt
        self._count = folder / "count"

    @property
    def name(self) -> str:
        return f"{self.rtt} ms" if self.rtt else "quiet"

    @property
    def argv(self) -> list[str]:
        """Put this before a command and it runs at the other end."""
        return [PYTHON, "-I", "-S", str(_RELAY), "--rtt", str(self.rtt), "--count", str(self._count), "--"]

    @property
    def shell(self) -> str:
        """The same for tools that split words themselves."""
        return shlex.join(self.argv)

    def measure(self, work: Callable[[], object]) -> Run:
        self._count.unlink(missing_ok=True)
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        told = [json.loads(line) for line in self._count.read_text().splitlines()]
        return Run(seconds, sum(sum(counts.values()) for counts in told))
