"""Unfinished work in sandboxes whose pattern is changed by one word and changed back, and that all of it came along."""

from __future__ import annotations

from typing import Protocol

from tests.integration.farm import WORK, Done

NAMES = ("ana/main", "bo/main")
# All that anybody did: files, what git says of them, its refs and stashes, and pi's sessions.
EVERYTHING = """
cd /workspace/web
git status --porcelain=v2 --branch --ignored; git for-each-ref; git stash list --format=%H; cat .git/rebase-merge/onto
find /workspace /home/pi/.pi/agent/sessions -name .git -prune -o -type f -exec sha256sum {} + | sort -k 2
"""


class Changing(Protocol):
    """A farm that offers two patterns, of which one is its sandboxes' now."""

    def provision(self) -> Done: ...

    def plan(self) -> Done: ...

    def pifleet(self, *words: str) -> Done: ...

    def of(self, pattern: str) -> Changing:
        """The same farm, in which the one word is this one."""

    def everything(self) -> dict[str, str]:
        """What there is of anybody's work, by sandbox."""

    def there(self) -> dict[str, int]:
        """How many sandboxes there are of each pattern."""


def begin_work(farm: Changing) -> None:
    """Make the sandboxes, with unfinished work and a session of pi's in each."""
    done = farm.provision()
    assert done.code == 0, done.out + done.err
    for name in NAMES:
        assert farm.pifleet("exec", name, "--", "sh", "-c", WORK.format(repo="web")).code == 0
        assert farm.pifleet("run", name, "-p", "SAY begun").code == 0


def carry_over_and_back(farm: Changing, new: str) -> None:
    """From pattern docker to a new one and back: each time all is there, in one place, and nothing is left to do."""
    before = farm.everything()
    assert "sessions" in before["ana/main"]
    assert "staged" in before["ana/main"]
    for pattern, other in ((new, "docker"), ("docker", new)):
        changed = farm.of(pattern)
        planned = [(step["sandbox"], step["item"], step["action"]) for step in changed.plan().json["steps"]]

        done = changed.provision()

        assert {(name, f"{other} sandbox", "remove") for name in NAMES} <= set(planned)
        assert done.code == 0, done.out + done.err
        assert changed.everything() == before
        assert changed.there() == {pattern: 2, other: 0}
        assert changed.plan().json["steps"] == []
        assert {row["result"] for row in changed.provision().json["outcomes"]} == {"ok"}
        assert changed.pifleet("run", "ana", "-p", "SAY still here").code == 0
        before = changed.everything()
