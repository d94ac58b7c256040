"""Owns looking for words in processes: arguments, environments and memory, as this machine's kernel shows them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.hunting.files import Hit

CHUNK = 4 << 20
REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (r\S+) \S+ \S+ (\d+)")


def in_processes(poison: Sequence[str]) -> set[Hit]:
    """Every process whose arguments or environment hold a poison, except this one."""
    hits = set()
    for proc in Path("/proc").glob("[0-9]*"):
        if proc.name == str(os.getpid()):
            continue
        for what in ("cmdline", "environ"):
            try:
                content = (proc / what).read_bytes()
            except OSError:
                continue
            hits |= {(word, f"{what} of {name_of(proc)}") for word in poison if word.encode() in content}
    return hits


def processes_of(container: str) -> list[int]:
    """The processes of a container by its whole id, wherever on this machine its engine runs (proc(5), cgroup)."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if container in (proc / "cgroup").read_text():
                found.append(int(proc.name))
        except OSError:
            continue
    return found


def of_users(pids: Iterable[int]) -> list[int]:
    """Those of these processes that are not root's: an OpenShell supervisor, which puts keys in, is root's."""
    found = []
    for pid in pids:
        try:
            found += [pid] if Path("/proc", str(pid)).stat().st_uid else []
        except OSError:
            continue
    return found


def in_memory(poison: Sequence[str], pids: Iterable[int]) -> set[Hit]:
    """Every one of these processes that has a poison in memory that is not just a file's."""
    return {(word, f"memory of {name_of(Path('/proc', str(pid)))}") for pid in pids for word in _held(poison, pid)}


def _held(poison: Sequence[str], pid: int) -> set[str]:
    found: set[str] = set()
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except OSError:
        return found
    for start, stop, mode, inode in (match.groups() for match in map(REGION.match, lines) if match):
        at, before = int(start, 16), b""
        while ("w" in mode or inode == "0") and at < int(stop, 16):
            try:
                data = os.pread(memory, min(CHUNK, int(stop, 16) - at), at)
            except (OSError, OverflowError):
                break
            if not data:
                break
            found |= {word for word in poison if word.encode() in before + data}
            at, before = at + len(data), data[-256:]
    os.close(memory)
    return found


def name_of(proc: Path) -> str:
    try:
        return (proc / "comm").read_text().strip()
    except OSError:
        return proc.name
