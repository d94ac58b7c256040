"""Owns what a cut costs: pulls that break off at random points, and what the next one has to send again.
It must not know how a pull goes on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pifleet.stream import Stream
from tests.bench import workloads
from tests.bench.home import attempt, bring, exec_into
from tests.bench.methods import Ours, Sandbox
from tests.bench.place import Failed
from tests.bench.table import Row, worst

_COUNT, _SIZE = 3000, 100_000
_CUTS = 10
_BAR = 5


class _Cut:
    """A stream that ends after `left` bytes, as when a connection breaks."""

    def __init__(self, stream: Stream, left: int) -> None:
        self._stream, self._left = stream, left
        self.send, self.end, self.wait, self.stderr, self.close = (
            stream.send, stream.end, stream.wait, stream.stderr, stream.close)

    def read(self, size: int, timeout: float) -> bytes:
        if not self._left:
            self._stream.close()
            return b""
        data = self._stream.read(min(size, self._left), timeout)
        self._left -= len(data)
        return data


def rows(box: Sandbox, results: Path) -> Iterator[Row]:
    workloads.incompressible(box.workspace / "data", _COUNT, _SIZE, seed=15)
    chance = random.Random(16)
    again = [_again(Ours(box, results), chance.randrange(1_000_000, _COUNT * _SIZE)) for _ in range(_CUTS)]
    yield worst(f"sent again after a cut of 300 MB, {_CUTS} cuts", "%", again, _BAR)


def _again(ours: Ours, at: int) -> float:
    """Percent of the files' bytes that were sent twice because of a cut after `at` bytes."""
    ours.forget()
    told = ours.told()
    first = attempt(told, _cutting(exec_into(told["home"]), at))
    if first.result != "failed":
        raise Failed(f"a pull that was cut ended as {first.result}")
    return 100 * ((first.bytes + bring(told).bytes) / (_COUNT * _SIZE) - 1)


def _cutting(open_stream: Callable[[Sequence[str]], Stream], at: int) -> Callable[[Sequence[str]], Stream]:
    return lambda argv: _Cut(open_stream(argv), at)
