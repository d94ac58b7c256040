"""Owns how the store at home grows over many pulls, and how long one file of one generation takes to come out of it.
It must not know how the store keeps anything: it looks at the disk."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pifleet.results import choose, restore
from tests.bench import workloads
from tests.bench.home import SANDBOX_ID, TITLE, bring
from tests.bench.methods import Ours, Sandbox
from tests.bench.place import ROOT, Failed, clear, run
from tests.bench.table import Row, worst

_GENERATIONS, _FILES, _SIZE = 30, 10_000, 100_000
_STORE_BAR = 1_600_000_000
_LOG_BAR, _LOG_PULLS = 250_000_000, 1000
_LOG_START, _LOG_STEP = 50_000_000, 100_000
_RESTORE_BAR = 1.0
_ONE = "workspace/data/07/7.bin"


def cases(folder: Path, pulls: int) -> dict[str, Callable[[], Iterator[Row]]]:
    """The cases by name; `pulls` is how often the log is brought home."""
    return {"generations": lambda: _generations(folder), "log": lambda: _log(folder, pulls)}


def _generations(folder: Path) -> Iterator[Row]:
    """Files that do not compress, 1 % of them rewritten before each pull."""
    box, ours = _box(folder / "generations")
    chance = random.Random(21)
    seconds = []
    workloads.incompressible(box.workspace / "data", _FILES, _SIZE, seed=22)
    for number in range(1, _GENERATIONS + 1):
        if number > 1:
            rewritten = iter(chance.sample(range(_FILES), _FILES // 100))
            workloads.incompressible(box.workspace / "data", _FILES, _SIZE, seed=22 + number, which=rewritten)
        seconds.append(_pull(ours))
    yield worst(f"store, {_GENERATIONS} generations of 10,000 files", "B", [_on_disk(ours.results)], _STORE_BAR)
    yield worst("  a later pull of them", "s", seconds[1:], None)
    for how, restored in (("library", _by_library), ("command", _by_command)):
        took = [_seconds(restored, ours.results, number) for number in range(1, _GENERATIONS + 1)]
        yield worst(f"  restore one file of each, {how}", "s", took, _RESTORE_BAR)


def _seconds(restored: Callable[[Path, int, Path], object], results: Path, number: int) -> float:
    """Until one file of one generation is a file again."""
    to = results / "restored"
    began = time.perf_counter()
    restored(results, number, to)
    seconds = time.perf_counter() - began
    if to.stat().st_size != _SIZE:
        raise Failed(f"{to} has another size")
    to.unlink()
    return seconds


def _by_library(results: Path, number: int, to: Path) -> None:
    restore(choose(results, SANDBOX_ID, TITLE, number), _ONE, to)


def _by_command(results: Path, number: int, to: Path) -> None:
    wanted = [f"{TITLE}/{_ONE}", "-g", str(number), "--to", str(to)]
    inventory = ["-i", str(ROOT / "inventory/local.yml"), "-e", f"demo_results={results}"]
    run([str(ROOT / ".venv/bin/pifleet"), "results", "restore", *wanted, *inventory])


def _log(folder: Path, pulls: int) -> Iterator[Row]:
    """A log that only grows; with fewer pulls than promised, the rest is reckoned from the growth so far."""
    box, ours = _box(folder / "log")
    log = box.sessions / "session.jsonl"
    lines = workloads.json_lines(23)
    _append(log, lines, _LOG_START)
    seconds, sizes = [], []
    for number in range(pulls):
        if number:
            _append(log, lines, _LOG_STEP)
        seconds.append(_pull(ours))
        sizes.append(_on_disk(ours.results))
    growth = (sizes[-1] - sizes[0]) / max(1, pulls - 1)
    yield worst(f"store, log over {pulls} pulls", "B", [sizes[-1]], None if pulls < _LOG_PULLS else _LOG_BAR)
    if pulls < _LOG_PULLS:
        yield worst(f"  at {_LOG_PULLS} pulls, if it goes on so", "B", [sizes[0] + growth * (_LOG_PULLS - 1)], _LOG_BAR)
    yield worst("  a later pull of it", "s", seconds[1:], None)


def _box(base: Path) -> tuple[Sandbox, Ours]:
    box = Sandbox(base / "sandbox")
    return box, Ours(box, base / "results")


def _pull(ours: Ours) -> float:
    """Seconds of one pull. Plain folders, where they are written, go again: they are not the store."""
    began = time.perf_counter()
    bring(ours.told())
    seconds = time.perf_counter() - began
    clear(ours.results / TITLE)
    return seconds


def _append(log: Path, lines: Iterator[bytes], size: int) -> None:
    with open(log, "ab") as file:
        while size > 0:
            size -= file.write(next(lines))


def _on_disk(results: Path) -> float:
    """Bytes that the store takes up, in whole blocks of the file system."""
    shown = subprocess.run(["du", "-s", "--block-size=1", results / ".store"], capture_output=True, check=True)
    return float(shown.stdout.split()[0])
