"""A sandbox, and a second one into which its generations go back: two boxes with one store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pifleet.results import Limits
from pifleet.results.equality import same_work
from pifleet.results.outgoing.outcome import PutBack
from pifleet.results.outgoing.returning import put_back
from pifleet.results.receipt import units_of
from pifleet.results.store.generations import Store
from tests.results.box import Box, git

LIMITS = Limits(idle=30, total=120)


class Pair:
    """`new` begins with an empty workspace; `upstream` is what `old` was at first."""

    def __init__(self, base: Path) -> None:
        self.old = Box(base / "old")
        self.upstream = base / "upstream.git"
        git(base, "clone", "-q", "--bare", str(self.old.api), str(self.upstream))
        self.new = Box.at(base / "new")
        self.new.workspace.mkdir(parents=True)
        self.new.home.mkdir()

    @property
    def store(self) -> Store:
        return Store(self.old.results, "ana-main", LIMITS)

    def clone(self) -> None:
        """A fresh clone in the new sandbox."""
        git(self.new.workspace, "clone", "-q", str(self.upstream), "api")

    def back(self, **changed: Any) -> PutBack:
        asked: dict[str, Any] = {"store": self.old.results, "sandbox_id": "ana-main", "limits": LIMITS,
                                 "workspace": str(self.new.workspace), "sessions": str(self.new.sessions)}
        return put_back(changed.pop("open_stream", self.new.open), **(asked | changed))

    def differences(self, generation: int = 1) -> list[str]:
        """Between a generation and what the new sandbox holds now."""
        done = self.new.pull(store=self.old.results)
        assert done.generation, done.trouble
        return self.between(generation, done.generation)

    def between(self, before: int, after: int) -> list[str]:
        store = self.store
        commits = store.generations()
        one, other = (units_of(store.receipt(commits[number])[0]) for number in (before, after))
        return same_work(one, other, store.git)


def results(done: PutBack) -> dict[str, str]:
    """Unit -> what became of it."""
    assert done.trouble is None, done.trouble
    return {unit.name: unit.result for unit in done.units}


def status(box: Box) -> dict[str, bytes]:
    """What git says of every repository that has a work tree."""
    return {str(path.parent.relative_to(box.workspace)): git(path.parent, "status", "--porcelain=v2")
            for path in sorted(box.workspace.rglob(".git"))}


def leftovers(box: Box) -> list[str]:
    """What a return must not leave behind."""
    return [str(path) for folder in (box.workspace, box.home) for path in folder.rglob(".pifleet-*")]
