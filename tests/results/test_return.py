"""A stored generation goes back into a sandbox, whole: what a pull then finds there is the same work."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pifleet.results import Limits
from pifleet.results.equality import same_work
from pifleet.results.outgoing.outcome import PutBack
from pifleet.results.outgoing.returning import put_back
from pifleet.results.receipt import units_of
from pifleet.results.store.generations import Store
from tests.results.box import Box, git
from tests.results.test_capture import SHAPES


class Pair:
    """A sandbox, and a second one with an empty workspace into which the first one's generations go."""

    def __init__(self, base: Path) -> None:
        self.old = Box(base / "old")
        git(base, "clone", "-q", "--bare", str(self.old.api), "upstream.git")
        self.upstream = base / "upstream.git"
        self.new = Box.at(base / "new")
        self.new.workspace.mkdir(parents=True)
        self.new.home.mkdir()

    def clone(self) -> None:
        """A fresh clone in the new sandbox."""
        git(self.new.workspace, "clone", "-q", str(self.upstream), "api")

    def back(self, **changed: Any) -> PutBack:
        asked: dict[str, Any] = {"store": self.old.results, "sandbox_id": "ana-main", "limits": Limits(idle=30, total=120),
                                 "workspace": str(self.new.workspace), "sessions": str(self.new.sessions)}
        return put_back(changed.pop("open_stream", self.new.open), **(asked | changed))

    def differences(self) -> list[str]:
        """Between generation 1 and what the new sandbox holds now."""
        done = self.new.pull(store=self.old.results)
        assert done.generation, done.trouble
        store = Store(self.old.results, "ana-main", Limits())
        told = [units_of(store.receipt(commit)[0]) for commit in store.generations().values()]
        return same_work(told[0], told[-1], store.git)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def status(box: Box) -> dict[str, bytes]:
    """What git says of every repository that has a work tree."""
    return {str(path.parent.relative_to(box.workspace)): git(path.parent, "status", "--porcelain=v2")
            for path in sorted(box.workspace.rglob(".git"))}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("place", ["nothing", "clone"])
def test_every_state_is_there_again(pair: Pair, shape: Callable[[Box], None], place: str) -> None:
    shape(pair.old)
    assert pair.old.pull().complete
    if place == "clone":
        pair.clone()
    done = pair.back()
    assert done.complete, done
    assert {unit.result for unit in done.units} <= {"restored", "equal"}
    assert pair.differences() == []
    assert status(pair.new) == status(pair.old)
    assert {unit.result for unit in pair.back(generation=1).units} == {"equal"}
    assert sorted(path.name for path in pair.new.workspace.iterdir() if path.name.startswith(".")) == []
