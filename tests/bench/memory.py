"""Owns how much memory both ends of a pull need, looked up in /proc while it runs.
It must not know what is pulled."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.link import Link
from tests.bench.methods import Ours
from tests.bench.place import ROOT, Failed
from tests.bench.table import Row, worst

_BAR = 120
_EVERY = 0.01


def rows(ours: Ours, link: Link, change: Callable[[], None]) -> Iterator[Row]:
    ours.forget()
    for what in ("first", "unchanged", "20 changed"):
        if what == "20 changed":
            change()
        home, inside = _peaks(ours, link)
        yield worst(f"memory at 100k, {what}: home", "MiB", [home], _BAR)
        yield worst(f"memory at 100k, {what}: inside", "MiB", [inside], _BAR)


def _peaks(ours: Ours, link: Link) -> tuple[float, float]:
    """The most that all processes of each end, home and inside, held in memory at one time, in MiB."""
    home = inside = 0.0
    with subprocess.Popen(ours.argv, stdin=subprocess.PIPE, cwd=ROOT) as pull:
        assert pull.stdin
        pull.stdin.write(json.dumps(ours.told(link)).encode())
        pull.stdin.close()
        while pull.poll() is None:
            here, there = _ends(pull.pid)
            home, inside = max(home, _held(here)), max(inside, _held(there))
            time.sleep(_EVERY)
    if pull.returncode:
        raise Failed(f"a pull exited {pull.returncode}")
    return home, inside


def _ends(pid: int) -> tuple[list[int], list[int]]:
    """The processes below `pid` and itself, and those behind the relay; the relay belongs to neither."""
    here, there = [pid], []
    for child in _children(pid):
        if b"relay.py" in _read(child, "cmdline"):
            there += [one for inner in _children(child) for one in _tree(inner)]
        else:
            below = _ends(child)
            here, there = here + below[0], there + below[1]
    return here, there


def _tree(pid: int) -> list[int]:
    return [pid, *(one for child in _children(pid) for one in _tree(child))]


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
                for child in (task / "children").read_bytes().split()]
    return []


def _held(pids: list[int]) -> float:
    """MiB. A child that has not yet become another program still shows its parent's memory, which counts once."""
    return sum({_read(pid, "cmdline"): _own(pid) for pid in pids}.values()) / 1024


def _own(pid: int) -> int:
    """KiB of its own; pages of files that it maps, such as packs, the kernel takes back whenever it likes."""
    for line in _read(pid, "status").splitlines():
        if line.startswith(b"RssAnon:"):
            return int(line.split()[1])
    return 0


def _read(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
