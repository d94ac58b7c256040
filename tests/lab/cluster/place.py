"""The place of a cluster: namespaces of its own for processes, mounts and network, and its cgroups.

Owns what must be gone when a cluster is gone; must not know which programs run in there.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tests.lab.engine import CannotCarry, LabError, run

ROOT = Path(__file__).parents[3]
CGROUPS = Path("/sys/fs/cgroup")
FIRST = Path(__file__).with_name("first.py")
END_SECONDS = 30.0


class Place:
    """The namespaces that the folder's `place.json` tells of; commands enter them from outside."""

    def __init__(self, folder: Path, name: str) -> None:
        self.record = folder / "place.json"
        self.logs = folder / "log"
        self.cgroup = f"pifleet-{name}"
        self.holder: subprocess.Popen[bytes] | None = None

    # Being there

    def pid(self) -> int | None:
        """The process outside that holds the place, or None; its start tells it from a later one of that number."""
        try:
            record = json.loads(self.record.read_text())
        except FileNotFoundError:
            return None
        return int(record["pid"]) if started_at(record["pid"]) == record["started"] else None

    def open(self, owned: bool) -> None:
        """Make the namespaces. An owned place ends with the caller's process, or with this object."""
        unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = [*unshare, sys.executable, str(FIRST), *(["owned"] if owned else [])]
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / "first.log").open("wb") as log:
            self.holder = subprocess.Popen(
                command, stdin=subprocess.PIPE if owned else subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )
        self.record.write_text(json.dumps({"pid": self.holder.pid, "started": started_at(self.holder.pid)}))
        end = time.monotonic() + END_SECONDS
        while not self.inside():
            if self.holder.poll() is not None or time.monotonic() > end:
                raise CannotCarry(f"a cluster needs namespaces: {(self.logs / 'first.log').read_text().strip()}")
            time.sleep(0.02)

    def close(self) -> None:
        """End every process in the place and remove its cgroups; mounts and network go with the last process."""
        pid, inside = self.pid(), self.inside()
        if pid:
            os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + END_SECONDS
        while left := [number for number in [pid, *inside, *self.held()] if number and started_at(number)]:
            if time.monotonic() > end:
                raise LabError(f"{self.cgroup}: processes {left} outlived the cluster")
            time.sleep(0.02)
        if self.holder:
            self.holder.wait()
        for hierarchy in self.hierarchies():
            for folder, _, _ in os.walk(hierarchy, topdown=False):
                os.rmdir(folder)
        self.record.unlink(missing_ok=True)

    # Acting in there

    def entering(self) -> list[str]:
        """What stands before a command to make it run inside."""
        pid = self.pid()
        if not pid:
            raise LabError("the cluster is not up")
        space = f"/proc/{pid}/ns"
        return ["nsenter", f"--mount={space}/mnt", f"--net={space}/net", f"--pid={space}/pid_for_children", "--"]

    def run(self, *command: Any, **options: Any) -> str:
        """Run a command inside and give what it printed; raises LabError where it fails."""
        return run([*self.entering(), *command], **options).stdout

    def feed(self, content: BinaryIO, *command: Any) -> str:
        """Run a command inside with this on its standard input; what it printed, or LabError where it fails."""
        words = [*self.entering(), *map(str, command)]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as process:
            assert process.stdin
            assert process.stdout
            with contextlib.suppress(BrokenPipeError):
                shutil.copyfileobj(content, process.stdin, 1 << 20)
                process.stdin.close()
            said = process.stdout.read().decode()
        if process.returncode:
            raise LabError(f"{' '.join(words[6:9])} ... ended with {process.returncode}: {said[-2000:]}")
        return said

    def start(
        self, name: str, command: Sequence[Any], environment: dict[str, str] | None = None, inherits: Sequence[int] = ()
    ) -> None:
        """Start a program inside that goes on by itself and writes to `<name>.log`; it inherits these open files."""
        words = ["setsid", "--fork", *self.entering(), *map(str, command)]
        with (self.logs / f"{name}.log").open("ab") as log:
            subprocess.run(
                words, check=True, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **(environment or {})}, pass_fds=inherits,
            )

    def stop(self, program: str) -> None:
        """Kill a program inside as a crash would, and wait until it is gone; nothing happens where it does not run."""
        end = time.monotonic() + END_SECONDS
        while found := self.found(program):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > end:
                raise LabError(f"{program} did not end")
            time.sleep(0.02)

    # What is seen in there

    def found(self, program: str) -> list[int]:
        """The processes inside that were started as this program, or as this module of Python's."""
        return [pid for pid in self.inside() if any(Path(word).name == program for word in arguments(pid)[:3])]

    def inside(self) -> list[int]:
        """Every process of the place, by its number outside."""
        pid = self.pid()
        own = namespace(pid, "pid_for_children") if pid else None
        if own == namespace(os.getpid(), "pid_for_children"):  # it has not left ours yet
            return []
        numbers = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
        return [number for number in numbers if own and namespace(number, "pid") == own]

    # cgroups

    def hierarchies(self) -> list[Path]:
        """The place's folder below each cgroup hierarchy: one in version 2, one for each controller in version 1."""
        if (CGROUPS / "cgroup.controllers").exists():
            return [CGROUPS / self.cgroup]
        return [root / self.cgroup for root in sorted(CGROUPS.iterdir()) if root.is_dir() and not root.is_symlink()]

    def make_cgroups(self) -> None:
        """Make the folders below which a kubelet makes those of pods."""
        for folder in self.hierarchies():
            if folder.parent.name != "unified":
                folder.mkdir(exist_ok=True)
            if folder.parent.name == "cpuset":
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (folder / file).write_text((folder.parent / file).read_text())

    def held(self) -> list[int]:
        """The processes in the place's cgroups."""
        found = []
        for file in (file for folder in self.hierarchies() for file in folder.rglob("cgroup.procs")):
            with contextlib.suppress(OSError):
                found += [int(line) for line in file.read_text().split()]
        return found


def started_at(pid: int) -> str:
    """When a process was started, in ticks since the machine was; empty where it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def namespace(pid: int, kind: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return ""


def arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
