"""Owns random histories of a sandbox on a lab host: work by chance, the host in trouble meanwhile, then a teardown.
It must reach pifleet by its command line only; what was in the sandbox is found out inside, without it.

The same seed and number make the same acts and troubles; moments of time are the machine's.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from pifleet.results import Item, Limits
from pifleet.results.pulling import WAIVED_FOLDERS
from tests.integration.farm import BIN, Done, Farm
from tests.results import inside
from tests.results.box import Box
from tests.results.histories import judge
from tests.results.holdings import Bounds, Holdings
from tests.results.losses import Home, losses

HOST, CONTAINER = "farm-1", "pi-ana-main"
BOUNDS = Bounds(WAIVED_FOLDERS, Limits().file, Limits().ignored_bytes)
SECONDS_TO_BOOT = 90


class HostHistory:
    """One history in a new sandbox with a store of its own in `farm.folder`; `journal` is what happened so far."""

    def __init__(self, farm: Farm, seed: str, number: int) -> None:
        self.farm, self.name, self.number = farm, f"{seed}:{number}", number
        self.host = farm.lab.host(HOST)
        self.chance = Random(self.name)
        self.journal: list[str] = []
        self.box = Box.at(farm.folder)  # of which only the store is here
        self._batches = 0
        self._kept: dict[int, Holdings] = {}

    def run(self) -> None:
        """Raises AssertionError when something was lost, made up or hidden."""
        self._succeeds("provision", "--yes")
        self.act(20)
        troubles = list(TROUBLES)
        for trouble in (troubles[self.number % len(troubles)], self.chance.choice(troubles)):
            self.bulk()
            self.journal.append(trouble.__name__)
            trouble(self)
            self._pull()
            self.act(8)
        self._teardown()

    # In the sandbox

    def act(self, count: int) -> None:
        self.journal += self._inside("act", f"{self.name}:{self._next()}", str(count)).splitlines()

    def act_meanwhile(self) -> subprocess.Popen[bytes]:
        """Acts that nobody waits for; what they were is lost with the host."""
        words = self._exec("act", f"{self.name}:{self._next()}", "200")
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert child.stdin
        with child.stdin as carried:
            carried.write(inside.program())
        return child

    def bulk(self) -> None:
        """So much that a pull takes some seconds."""
        self._inside("bulk", f"{self.name}:{self._next()}", "24")

    def holdings(self) -> Holdings:
        return inside.read(self._inside("hold", str(dataclasses.asdict(BOUNDS))))

    def _next(self) -> int:
        self._batches += 1
        return self._batches

    def _exec(self, *words: str) -> list[str]:
        far = ["docker", "exec", "-i", CONTAINER, "python3", "-c", inside.BOOT, *words]
        return ["docker", "exec", "-i", self.host.container, *far]

    def _inside(self, *words: str) -> str:
        done = subprocess.run(self._exec(*words), input=inside.program(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode()

    # From outside

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start pifleet and do not wait for it."""
        sources = [part for source in self.farm.sources for part in ("-i", source)]
        return subprocess.Popen(
            [str(BIN / "pifleet"), *words, *sources], cwd=self.farm.folder, start_new_session=True, text=True,
            env={**os.environ, "NO_COLOR": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def wait_a_moment(self, least: float, most: float) -> None:
        time.sleep(self.chance.uniform(least, most))

    def ended(self, child: subprocess.Popen[str]) -> None:
        """Wait for a pull that trouble has met: it may fail, but knows what it says."""
        _, said = child.communicate(timeout=300)
        assert "Traceback" not in said, said
        self.journal.append(f"pifleet ended with {child.returncode}")

    def wait_until_it_runs(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_BOOT
        while self.host.inside("docker", "inspect", "-f", "{{.State.Running}}", CONTAINER, check=False) != "true":
            assert time.monotonic() < deadline, "the sandbox did not come back"
            time.sleep(0.5)

    def _succeeds(self, *words: str) -> Done:
        done = self.farm.pifleet(*words)
        assert done.code == 0, done.out + done.err
        return done

    def pulled(self) -> dict[str, Any]:
        [one] = self.farm.pifleet("pull", "ana", "-o", "json").json["pulls"]
        self.journal.append(f"pull: {one['result']} {one['generation']}")
        assert isinstance(one, dict)
        return one

    def _pull(self) -> None:
        """A pull with nobody in trouble, judged by what is there."""
        one = self.pulled()
        assert one["error"] is None, one
        self._judge(one, self.holdings())

    def _judge(self, one: dict[str, Any], there: Holdings) -> None:
        incomplete = [Item(item["path"], item["reason"]) for item in one["incomplete"]]
        judge(there, Home(self.box, one["generation"]), incomplete, complete=not incomplete)
        if not incomplete:
            self._kept[one["generation"]] = there

    def _teardown(self) -> None:
        """First one that would lose something, then one that would not, killed at some moment and run again."""
        self.host.inside("docker", "exec", CONTAINER, "mkfifo", "/workspace/api/a-pipe")
        refused = self.farm.pifleet("remove", "ana", "--yes", "-o", "json")
        [row] = refused.json["outcomes"]
        assert (refused.code, row["result"]) == (1, "skipped"), refused.out
        assert any(item["reason"] == "special" for item in refused.json["pulls"][0]["incomplete"]), refused.out
        self.journal.append("teardown refused")
        self._inside("clear", str(dataclasses.asdict(BOUNDS)))
        there = self.holdings()
        if self.chance.random() < 0.5:
            self.journal.append("teardown killed")
            child = self.begin("remove", "ana", "--yes")
            self.wait_a_moment(1, 20)
            _kill(child)
        self._remove()
        assert self.host.inside("docker", "ps", "-aq", "--filter", f"name={CONTAINER}") == ""
        assert self.host.inside("ls", "/var/lib/pifleet/sandboxes") == ""
        newest = json.loads(self._succeeds("results", "list", "ana", "-o", "json").out)["generations"]
        kept = {**self._kept, max(one["generation"] for one in newest if one["complete"]): there}
        for number, held in kept.items():
            lost = losses(held, Home(self.box, number))
            assert not lost, f"gone from generation {number}: {lost}"
        self._succeeds("results", "verify", "ana")

    def _remove(self) -> None:
        """What a person does who is told why it does not go on."""
        done = self.farm.pifleet("remove", "ana", "--yes")
        if done.code and "no container" in done.out + done.err:
            self.journal.append("made again, because a removal was killed half-way")
            self._succeeds("provision", "--yes")
            done = self.farm.pifleet("remove", "ana", "--yes")
        assert done.code == 0, done.out + done.err


def _kill(child: subprocess.Popen[str]) -> None:
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


def reboot(history: HostHistory) -> None:
    """The plug is pulled while an agent works and a pull goes on."""
    acts, child = history.act_meanwhile(), history.begin("pull", "ana")
    history.wait_a_moment(1.5, 5)
    history.host.kill()
    acts.wait()
    history.host.start()
    history.ended(child)
    history.wait_until_it_runs()


def full_disk(history: HostHistory) -> None:
    """No room for the agent, nor for what a capture remembers."""
    history.host.fill()
    try:
        history.act(6)
        one = history.pulled()
        assert one["generation"] or one["error"]["try"], one
    finally:
        history.host.unfill()


def line_cut(history: HostHistory) -> None:
    """Every packet is lost for some seconds, in the middle of a pull."""
    child = history.begin("pull", "ana")
    history.wait_a_moment(1.5, 4)
    history.host.cut()
    history.wait_a_moment(1, 8)
    history.host.heal()
    history.ended(child)


def line_lost(history: HostHistory) -> None:
    """The operator's machine goes away without a word; the far end still waits for it."""
    child = history.begin("pull", "ana")
    history.wait_a_moment(1.5, 4)
    history.host.cut()
    _kill(child)
    history.wait_a_moment(1, 3)
    history.host.heal()


def home_killed(history: HostHistory) -> None:
    child = history.begin("pull", "ana")
    history.wait_a_moment(1, 4)
    _kill(child)


def capture_killed(history: HostHistory) -> None:
    """Kill -9 of every program in the sandbox but the first."""
    child = history.begin("pull", "ana")
    history.wait_a_moment(1.5, 4)
    history.host.inside("docker", "exec", CONTAINER, "sh", "-c", "kill -9 -1", check=False)
    history.ended(child)
    history.wait_until_it_runs()


Trouble = Callable[[HostHistory], None]
TROUBLES: Sequence[Trouble] = (reboot, full_disk, line_cut, home_killed, capture_killed, line_lost)
