"""Owns random histories of a sandbox: weeks of an agent's work in a second, pulls in between, trouble, and a teardown.
It must not trust a pull: what was there is found out without it, and every byte is looked for at home.

    python -m tests.results.histories --count 2000 --seed 7 [--from K]

The same seed and number make the same history; a failure prints the command that repeats it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from pifleet.results import Item, Limits, Pull
from pifleet.results.pulling import WAIVED_FOLDERS
from tests.results import file_acts, git_acts
from tests.results.agent import Agent
from tests.results.box import Box, everything
from tests.results.file_acts import FILE_BYTES, IGNORED_BYTES, removed
from tests.results.holdings import Bounds, Holdings, holdings
from tests.results.losses import Home, losses
from tests.results.troubles import TROUBLES, object_lost, store_lost

BOUNDS = Bounds(WAIVED_FOLDERS, FILE_BYTES, IGNORED_BYTES)
LIMITS = Limits(idle=60, total=300, file=FILE_BYTES, ignored_bytes=IGNORED_BYTES)
# A folder called .gitattributes and the like harms nobody and comes home.
_SLIPS = ("gitattributesBlob", "gitattributesLineLength", "gitattributesLarge", "gitmodulesBlob")
_FORGIVING = tuple(word for slip in _SLIPS for word in ("-c", f"fsck.{slip}=ignore"))
MEMORY = Path("/dev/shm")  # where there is one, thousands of small synced files cost no disk
_Choice = TypeVar("_Choice")


class History:
    """One history in a new box; `journal` is what happened so far."""

    def __init__(self, base: Path, seed: str, number: int) -> None:
        self.chance = Random(f"{seed}:{number}")
        self.box = Box(base)
        self.agent = Agent(self.box, self.chance)
        self.journal: list[str] = []
        self._kept: dict[int, Holdings] = {}

    def run(self) -> None:
        """Raises AssertionError when something was lost, made up, hidden or changed."""
        for _ in range(self.chance.randrange(10, 26)):
            self._step()
        self._teardown()

    def _drawn(self, weights: Mapping[_Choice, int]) -> _Choice:
        return self.chance.choices(list(weights), list(weights.values()))[0]

    def _step(self) -> None:
        roll = self.chance.random()
        if roll < 0.10:
            self._pull()
        elif roll < 0.17:
            self._trouble()
        elif roll < 0.19:
            self._act(file_acts.HURDLES)
        else:
            self._act(file_acts.ACTS if roll < 0.55 else git_acts.ACTS)

    def _act(self, acts: Mapping[file_acts.Act, int]) -> None:
        act = self._drawn(acts)
        self.journal.append(act.__name__)
        act(self.agent)

    def _trouble(self) -> None:
        trouble = self._drawn(TROUBLES)
        self.journal.append(trouble.__name__)
        done = trouble(self.agent, self._asked)
        if trouble is store_lost:
            self._kept.clear()
        if done and done.generation:
            self._judge(done, excused=trouble is object_lost)
        elif done:
            assert done.result == "failed", f"a broken stream is called {done.result}: {done.trouble}"
        if self.chance.random() < 0.5:
            self._pull()

    def _asked(self, **changed: Any) -> Pull:
        return self.box.pull(**({"limits": LIMITS} | changed))

    def _pull(self) -> Pull:
        before = everything(self.box.workspace)
        done = self._asked()
        self.journal.append(f"pull: {done.result} {done.generation}")
        after = everything(self.box.workspace)
        changed = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
        assert not changed, f"the pull changed something in the sandbox: {changed}"
        assert done.trouble is None, f"the pull ended early: {done.trouble}"
        self._judge(done)
        return done

    def _judge(self, done: Pull, *, excused: bool = False) -> None:
        assert done.generation
        there = holdings(self.box, BOUNDS)
        judge(there, Home(self.box, done.generation), done.incomplete, complete=done.complete, excused=excused)
        if done.complete:
            self._kept[done.generation] = there

    def _teardown(self) -> None:
        """The sandbox goes only after a complete pull; what stands in the way of one is removed first."""
        done = self._pull()
        if not done.complete:
            there = holdings(self.box, BOUNDS)
            for hurdle in there.hurdles:
                removed(self.box.workspace, hurdle)
            for root in there.repositories:  # the bare ones too, since a copy has its tags
                self.agent.git(self.box.workspace / os.fsdecode(root), "tag", "-d", git_acts.UNNAMED)
            self.journal.append("hurdles removed")
            done = self._pull()
        again = self._pull()
        assert (again.result, again.generation) == ("unchanged", done.generation), "a second pull found something new"
        assert done.complete, f"still not complete: {done.incomplete}"
        for folder in (self.box.workspace, self.box.home):
            shutil.rmtree(folder)
        for number, there in self._kept.items():
            assert not (lost := losses(there, Home(self.box, number))), f"gone from generation {number}: {lost}"
        assert self.box.home_git(*_FORGIVING, "fsck", "--strict", "--no-dangling") == ""


def judge(there: Holdings, home: Home, incomplete: Sequence[Item], *, complete: bool, excused: bool = False) -> None:
    """A pull is complete exactly if nothing is missing at home; what is missing is named. Raises AssertionError.

    One is excused for not being complete when it could not see that nothing is missing.
    """
    lost = losses(there, home)
    named = [item.path for item in incomplete]
    silent = {where: what for where, what in lost.items() if not _named(where, named)}
    assert not silent, f"missing at home and not named: {silent}"
    assert not (complete and lost), f"called complete, and missing at home: {lost}"
    assert not (complete and there.hurdles), f"called complete in spite of {there.hurdles}"
    excused |= any(item.reason == "ref.namespace" for item in incomplete)
    assert complete or there.hurdles or lost or excused, f"called incomplete for nothing: {incomplete}"


def _named(where: str, named: Sequence[str]) -> bool:
    """A repository that is named as a whole stands for all in its .git."""
    inside = where.partition("/.git ")[0] + "/.git" if "/.git " in where else ""
    return any(where == name or where.startswith(f"{name}/") or (inside and name.startswith(inside)) for name in named)


def failure(base: Path, seed: str, number: int) -> str:
    """What went wrong in this history and how to see it again, or ""."""
    folder = Path(tempfile.mkdtemp(dir=base))
    history = History(folder, seed, number)
    try:
        history.run()
    except Exception:
        again = f"python -m tests.results.histories --seed {seed} --from {number} --count 1"
        return f"{traceback.format_exc()}history {number} of seed {seed}: {again}\n  " + "\n  ".join(history.journal)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ""


def main(argv: Sequence[str]) -> int:
    """Run histories one after the other; the exit code is 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.results.histories", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="K")
    asked = parser.parse_args(argv)
    failed, started = [], time.monotonic()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as base:
        for number in range(asked.first, asked.first + asked.count):
            if told := failure(Path(base), asked.seed, number):
                failed.append(number)
                print(told, flush=True)
            if (number + 1 - asked.first) % 50 == 0 or number + 1 == asked.first + asked.count:
                seconds = time.monotonic() - started
                print(f"seed {asked.seed}: {number + 1} histories, {len(failed)} failed, {seconds:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(map(str, failed))}; each again by --seed {asked.seed} --from NUMBER --count 1")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
