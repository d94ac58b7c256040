"""Owns how measurements read: one line each with its ratio, its bar and a verdict, and all of them as JSON.
It must not measure."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_WIDTHS = "{:42} {:>8} {:>8} {:>6} {:>8}  {}"


@dataclass(frozen=True)
class Row:
    """`ours` and `theirs` are medians in `unit`; `bar` is for `measured`, which is their ratio, or `ours` alone.

    A row without a bar informs. `samples` are the single runs, in their order.
    """

    name: str
    unit: str
    ours: float
    theirs: float | None
    measured: float
    bar: float | None
    samples: Sequence[Any] = field(repr=False, default=())

    @property
    def ok(self) -> bool:
        return self.bar is None or self.measured <= self.bar


def ratio(name: str, unit: str, pairs: Sequence[tuple[float, float]], bar: float | None) -> Row:
    """Ours against theirs: the median of the ratios of runs in turn, so that a noisy machine hits both alike."""
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Row(name, unit, ours, theirs, statistics.median(a / b for a, b in pairs), bar, pairs)


def worst(name: str, unit: str, values: Sequence[float], bar: float | None) -> Row:
    """A promise that every run has to keep."""
    return Row(name, unit, max(values), None, max(values), bar, values)


def shown(value: float, unit: str) -> str:
    """A value with its unit in at most eight columns; bytes in the largest decimal unit."""
    if unit != "B":
        return f"{value:.2f} {unit}" if value < 100 else f"{value:.0f} {unit}"
    for size, word in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.1f} {word}"
    return f"{value:.0f} B"


class Table:
    """Prints each row as soon as it is known."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        self._rows: list[Row] = []
        self._failed: list[str] = []
        for name, value in facts.items():
            print(f"{name:8} {value}")
        print(_WIDTHS.format("\nwhat", " ours", "theirs", "ratio", "at most", "").rstrip(), flush=True)

    def add(self, row: Row) -> None:
        self._rows.append(row)
        compared = row.theirs is not None
        bar = "" if row.bar is None else f"{row.bar:g}" if compared else shown(row.bar, row.unit)
        verdict = "" if row.bar is None else "ok" if row.ok else "OVER"
        theirs = shown(row.theirs, row.unit) if row.theirs is not None else ""
        measured = f"{row.measured:.2f}" if compared else ""
        print(_WIDTHS.format(row.name, shown(row.ours, row.unit), theirs, measured, bar, verdict).rstrip(), flush=True)

    def fail(self, case: str, why: str) -> None:
        """A case that came to no number, or not to all."""
        self._failed.append(case)
        print(f"{case}: FAILED, {why}", flush=True)

    def end(self, path: Path | None) -> int:
        """Write the JSON where it is wanted; the exit code: 1 when a bar is missed or a case failed."""
        over = [row.name for row in self._rows if not row.ok]
        if path:
            rows = [asdict(row) | {"ok": row.ok} for row in self._rows]
            path.write_text(json.dumps(self._facts | {"rows": rows, "failed": self._failed}, indent=1) + "\n")
        counts = f"{len(self._rows)} rows, {len(over)} over their bar, {len(self._failed)} cases failed"
        print(f"\n{counts}", file=sys.stderr)
        return 1 if over or self._failed else 0
