"""Owns what pattern gondolin costs beside pi's own example extension on the same host: time to the first answer of a
tool, processor, memory and disk, for one and for four at once. It must not know how either starts its machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.bench.place import Failed
from tests.bench.table import Row, ratio
from tests.integration import gondolin_example as example
from tests.integration.micro_farm import HOST, PLACE, ROOT, Micro, micro_of
from tests.lab.farm import Lab

LAB = os.environ.get("PIFLEET_LAB", "bench")
# How many at once, and how many pairs of runs: one machine's boot varies more than four's together.
PAIRS = {1: 7, 4: 3}
BAR = 1.1
# The guest gets what the example's has: 1 GiB, without what pifleet keeps for the host's side (docs/gondolin.md).
MEMORY = "1792m"
# pi stays at work after its first answer until it is let go, so that all of them can be looked at.
SCRIPT = ('CALL bash {"command": "uname -r"}\n'
          'CALL bash {"command": "until [ -e measured ]; do sleep 1; done"}\nSAY done')
# Starts commands at once and waits until each has had its first answer; then tells seconds, and what its processes,
# those of these users and it have spent of the processor (proc_pid_stat(5), children that ended included) and hold
# of memory, shared pages shared (proc_pid_smaps(5), Pss).
_MEASURE = """
import json, os, subprocess, sys, time
commands, uids, folders = json.loads(sys.argv[1])
started = time.monotonic()
running = [subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) for argv in commands]
for one in running:
    if not any('"tool_execution_end"' in line for line in one.stdout):
        sys.exit("a command ended without an answer")
seconds, ticks, memory = time.monotonic() - started, 0, 0
own = {one.pid for one in running}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        if int(pid) in own or os.stat("/proc/" + pid).st_uid in uids:
            ticks += sum(map(int, open("/proc/%s/stat" % pid).read().rpartition(")")[2].split()[11:15]))
            lines = open("/proc/%s/smaps_rollup" % pid).read().splitlines()
            memory += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    except OSError:
        pass
for folder in folders:
    open(folder + "/measured", "w").close()
for one in running:
    one.stdout.read()
    one.wait()
for folder in folders:
    os.unlink(folder + "/measured")
print(json.dumps([seconds, ticks / os.sysconf("SC_CLK_TCK"), memory]))
"""
# The command of one of several, and the folder of the host that it works in.
Start = Callable[[int], tuple[Sequence[str], str]]


def cases(folder: Path) -> dict[str, Callable[[], Iterator[Row]]]:
    return {"gondolin": lambda: _measured(folder)}


def _measured(folder: Path) -> Iterator[Row]:
    lab = Lab(LAB)
    lab.up([HOST])
    try:
        farm = micro_of(lab, folder, [f"d{number}" for number in range(max(PAIRS))])
        farm.overlay = {**farm.overlay, "pifleet_defaults": {**farm.overlay["pifleet_defaults"], "memory": MEMORY}}
        done = farm.provision()
        if done.code:
            raise Failed(done.err[-500:])
        example.install(farm)
        yield from _rows(farm)
    finally:
        lab.down()


def _rows(farm: Micro) -> Iterator[Row]:
    def ours(number: int) -> tuple[Sequence[str], str]:
        argv = [*PLACE, f"d{number}-main", "agent", "/workspace", "pi", "--mode", "json", "-p", SCRIPT]
        return argv, f"{ROOT}/d{number}-main/workspace"

    def theirs(number: int) -> tuple[Sequence[str], str]:
        folder = f"{example.HOME}/p{number}"
        farm.sh(f"install -d -o {example.USER} {folder}")
        return example.pi(farm, f"p{number}", "--mode", "json", "-p", SCRIPT), folder

    for count, pairs in PAIRS.items():
        users = [f"pi-d{number}" for number in range(count)]
        runs = [_pair(farm, ours, theirs, users, number % 2) for number in range(pairs)]
        for at, (name, unit) in enumerate((("first answer of a tool", "s"), ("processor until then", "s"),
                                           ("memory then", "B"))):
            yield ratio(f"{name}, {count} at once", unit, [(mine[at], other[at]) for mine, other in runs], BAR)
        runtime, box = (_disk(farm, path) for path in (farm.runtime(), f"{ROOT}/d0-main"))
        own = sum(_disk(farm, f"{example.HOME}/{name}") for name in (".cache/gondolin", ".pi"))
        yield ratio(f"disk, {count} developers", "B", [(runtime + count * box, runtime + count * own)], BAR)


def _pair(
    farm: Micro, ours: Start, theirs: Start, users: Sequence[str], late: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """One run of ours and one of theirs, which is the first of the two when ours is to be `late`."""
    sides = [(ours, users), (theirs, [example.USER])]
    found = [_run(farm, start, len(users), of) for start, of in sides[late:] + sides[:late]]
    return found[late], found[1 - late]


def _run(farm: Micro, start: Start, count: int, users: Sequence[str]) -> tuple[float, float, float]:
    """Seconds, seconds of the processor, and bytes; begun when no machine runs."""
    uids = [int(farm.sh(f"id -u {user}")) for user in users]
    farm.sh("while pgrep -f '^qemu-system' >/dev/null; do sleep 0.2; done")
    before = _spent(farm, uids)
    commands, folders = zip(*(start(number) for number in range(count)), strict=True)
    asked = json.dumps([commands, uids, folders])
    seconds, spent, memory = json.loads(farm.host.inside("python3", "-I", "-c", _MEASURE, asked))
    return seconds, spent - before, memory


def _spent(farm: Micro, uids: Sequence[int]) -> float:
    """What the processes that these users have already spent."""
    return float(json.loads(farm.host.inside("python3", "-I", "-c", _MEASURE, json.dumps([[], uids, []])))[1])


def _disk(farm: Micro, path: str) -> int:
    return int(farm.sh(f"du -sk {path}").split()[0]) << 10
