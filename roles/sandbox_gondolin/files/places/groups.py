"""Owns a sandbox's control groups: its limits, who belongs to them, and their end.
It must not know what runs in them."""

import contextlib
import os
import signal
import time

GROUPS = "/sys/fs/cgroup"
PLACES = ("machine", "agent", "work")
PERIOD = 100000
SECONDS_TO_END = 10


def folders(sandbox):
    """The control groups of a sandbox by the folder below /sys/fs/cgroup where they belong: one, or three by kind."""
    if os.path.exists(GROUPS + "/cgroup.controllers"):
        return {"": "%s/pifleet/%s" % (GROUPS, sandbox)}
    return {kind: "%s/%s/pifleet/%s" % (GROUPS, kind, sandbox) for kind in ("memory", "cpu", "pids")}


def limit(box):
    """Make the sandbox's control groups with its limits."""
    quota, period = int(box["cpus"] * PERIOD), PERIOD
    for kind, folder in folders(box["id"]).items():
        if not kind:
            for parent in (GROUPS, GROUPS + "/pifleet"):
                os.makedirs(parent, exist_ok=True)
                write(parent, "cgroup.subtree_control", "+cpu +memory +pids")
        for place in PLACES:
            os.makedirs(os.path.join(folder, place), exist_ok=True)
        if not kind:
            write(folder, "memory.max", box["memory"])
            with contextlib.suppress(FileNotFoundError):
                write(folder, "memory.swap.max", 0)
            write(folder, "cpu.max", "%d %d" % (quota, period))
        elif kind == "memory":
            write(folder, "memory.limit_in_bytes", box["memory"])
        elif kind == "cpu":
            write(folder, "cpu.cfs_period_us", period)
            write(folder, "cpu.cfs_quota_us", quota)
        if kind in ("", "pids"):
            write(folder, "pids.max", box["pids"])


def write(folder, name, value):
    with open(os.path.join(folder, name), "w") as file:
        file.write(str(value))


def join(sandbox, place):
    """Belong to the sandbox's control groups from now on. An empty one may have been tidied away by systemd."""
    for folder in folders(sandbox).values():
        os.makedirs(os.path.join(folder, place), exist_ok=True)
        write(os.path.join(folder, place), "cgroup.procs", os.getpid())


def members(sandbox, place):
    """The processes of a place, by their numbers outside."""
    folder = next(iter(reversed(folders(sandbox).values())))
    try:
        with open(os.path.join(folder, place, "cgroup.procs")) as file:
            return [int(line) for line in file]
    except FileNotFoundError:
        return []


def first(sandbox, place):
    """The process that is number 1 in a place, or None: it is the place's life."""
    for pid in members(sandbox, place):
        with contextlib.suppress(OSError), open("/proc/%d/status" % pid) as file:
            numbers = next(line.split()[1:] for line in file if line.startswith("NSpid:"))
            if len(numbers) > 1 and numbers[-1] == "1":
                return pid
    return None


def clear(sandbox):
    """End whatever is left of a sandbox's processes, and forget its control groups."""
    end = time.monotonic() + SECONDS_TO_END
    while any(members(sandbox, place) for place in PLACES) and time.monotonic() < end:
        for place in PLACES:
            for pid in members(sandbox, place):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for folder in folders(sandbox).values():
        for place in (*PLACES, ""):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(folder, place))
