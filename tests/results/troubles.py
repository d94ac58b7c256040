"""Owns what goes wrong with a pull: a stream that breaks, either side killed, a memory lost or older than it says.
It must not change what an agent has made."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pifleet.results import Pull
from pifleet.stream import LocalStream
from tests.results.agent import Agent

Pulling = Callable[..., Pull]
_SEEN = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.symlink", "os.link", "os.truncate",
         "subprocess.Popen", "fcntl.flock", "shutil.rmtree")
_MOMENTS = 160  # about as many of these as a small pull has


class Breaking(LocalStream):
    """Ends after so many bytes: as a connection does, or because everything at the far end was killed."""

    def __init__(self, argv: Sequence[str], env: dict[str, str], budget: int, *, kill: bool) -> None:
        self._budget, self._kill = budget, kill
        super().__init__(argv, env)
        if kill and budget <= 0:
            self._end()

    def _end(self) -> None:
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def read(self, size: int, timeout: float) -> bytes:
        if self._budget <= 0 and not self._kill:
            return b""
        data = super().read(min(size, max(self._budget, 1)), timeout)
        self._budget -= len(data)
        if self._budget <= 0 and self._kill and self._child.poll() is None:
            self._end()
        return data


def _broken(agent: Agent, pulling: Pulling, *, kill: bool) -> Pull:
    budget = agent.chance.choice([0, 1, 40, agent.chance.randrange(3000), agent.chance.randrange(60_000)])
    env = {"PATH": os.environ["PATH"], "HOME": str(agent.box.home)}
    return pulling(open_stream=lambda argv: Breaking([sys.executable, *argv[1:]], env, budget, kill=kill))


def stream_cut(agent: Agent, pulling: Pulling) -> Pull | None:
    return _broken(agent, pulling, kill=False)


def capture_killed(agent: Agent, pulling: Pulling) -> Pull | None:
    return _broken(agent, pulling, kill=True)


def home_killed(agent: Agent, pulling: Pulling) -> None:
    """A child of this process pulls, and dies at its n-th dealing with the outside."""
    moments = agent.chance.randrange(1, _MOMENTS)
    child = os.fork()
    if child == 0:
        try:
            _die_after(moments)
            pulling()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _die_after(moments: int) -> None:
    left = moments

    def count(event: str, _: Any) -> None:
        nonlocal left
        left -= event in _SEEN
        if left == 0 and event in _SEEN:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def memory_lost(agent: Agent, pulling: Pulling) -> None:
    shutil.rmtree(agent.box.home / ".cache", ignore_errors=True)


def memory_torn(agent: Agent, pulling: Pulling) -> None:
    for path in sorted((agent.box.home / ".cache").rglob("*")):
        if path.is_file():
            os.truncate(path, agent.chance.randrange(path.stat().st_size + 1))


def memory_older(agent: Agent, pulling: Pulling) -> None:
    """A backup of the sandbox's home is put back, then taken anew."""
    now, old = agent.box.home / ".cache", agent.box.base / "old-cache"
    aside = agent.box.base / "aside"
    if now.exists():
        shutil.copytree(now, aside)
    if old.exists():
        shutil.rmtree(now, ignore_errors=True)
        old.rename(now)
    if aside.exists():
        aside.rename(old)


def store_lost(agent: Agent, pulling: Pulling) -> None:
    shutil.rmtree(agent.box.results / ".store", ignore_errors=True)


def object_lost(agent: Agent, pulling: Pulling) -> Pull | None:
    """The sandbox's disk has lost one object of git's, and finds it again after the pull."""
    needed = agent.asked(agent.box.api, "rev-list", "--objects", "--no-object-names", "--all")
    paths = [agent.box.api / ".git/objects" / oid[:2] / oid[2:] for oid in needed]
    if not (loose := [path for path in paths if path.exists()]):
        return None
    lost, aside = agent.chance.choice(loose), agent.box.base / "lost-object"
    lost.rename(aside)
    try:
        return pulling()
    finally:
        lost.parent.mkdir(exist_ok=True)
        aside.rename(lost)


Trouble = Callable[[Agent, Pulling], Pull | None]
TROUBLES: dict[Trouble, int] = {stream_cut: 4, capture_killed: 4, home_killed: 6, memory_lost: 1, memory_torn: 1,
                                memory_older: 1, store_lost: 1, object_lost: 2}
