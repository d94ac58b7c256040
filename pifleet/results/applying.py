"""Owns bringing the commits and the work of one generation into a person's own clone, as one new branch.
It must not change anything there that a person has: no file, no index, no branch of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pifleet.errors import PifleetError, Refused
from pifleet.results.choosing import Chosen
from pifleet.results.clone import Clone, Quarantine
from pifleet.results.limits import Refusal
from pifleet.results.names import shown
from pifleet.results.outcome import Item
from pifleet.results.store.homegit import HomeGit, PackSink
from pifleet.results.store.packs import copy
from pifleet.results.units import Unit
from pifleet.results.work import Work

_KNOWN = 8000


@dataclass(frozen=True)
class Applied:
    """The branch `tip` of a clone. `head` is the sandbox's own commit, below `tip` where there was uncommitted work.

    `left_out`: entries that are too dangerous for a work tree. `operation`: what was in progress, and is not applied.
    """

    clone: str
    branch: str
    tip: str
    head: str
    new: bool
    left_out: tuple[Item, ...]
    operation: str

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "operation": self.operation or None, "left_out": [vars(item) for item in self.left_out]}


def apply(chosen: Chosen, typed: str, to: Path, branch: str = "") -> Applied:
    """Make `branch` (pifleet/<sandbox>/<generation> where none is named) in the clone whose work tree is `to`.

    Raises BadInput for names that are none; Refused where the clone has uncommitted changes, has commits that the
    sandbox had not, or has another branch of this name; PifleetError when either side is damaged. Then the clone is
    as before.
    """
    unit = chosen.repository(typed).unit
    branch = branch or f"pifleet/{chosen.title.replace('/', '-')}/{chosen.number}"
    clone = Clone.at(to, chosen.store.limits)
    try:
        there = clone.branch(branch)
        _require_rest(clone, unit)
        with clone.quarantine() as quarantine:
            return _Course(chosen, unit, clone, quarantine).run(branch, there)
    except Refusal as refusal:
        raise PifleetError(f"{chosen.title} could not be applied; {to} is as before", saw=f"{refusal.code}: {refusal}",
                           where=str(to), try_=f"pifleet results verify {chosen.title}") from None


@dataclass(frozen=True)
class _Course:
    chosen: Chosen
    unit: Unit
    clone: Clone
    quarantine: Quarantine

    def run(self, branch: str, there: str) -> Applied:
        head = self.unit.facts["head"]
        if head:
            self._bring_history(head)
        self._require_descent(head)
        tip, work = self._tip(head)
        left_out = tuple(Item(kept.path, kept.reason) for kept in work.kept)
        done = Applied(str(self.clone.top), branch, tip, head, not there, left_out, self.unit.facts["operation_name"])
        if there not in ("", tip):
            raise Refused(f"branch {branch} is there already and is something else", where=str(self.clone.top),
                          saw=f"the clone's branch: {there}\nthis generation: {tip}",
                          try_="the same command with --branch and another name")
        if not there:
            self.quarantine.land(branch, tip, f"pifleet: generation {self.chosen.number} of {self.chosen.title}")
        return done

    def _bring_history(self, head: str) -> None:
        """What the sandbox's HEAD reaches and no ref of the clone does."""
        source, limits = self.chosen.store.git, self.chosen.store.limits
        known = list(source.sizes(self.clone.git.tips()[:_KNOWN]))
        asked = "".join(f"{oid}\n" for oid in (head, *(f"^{oid}" for oid in known))).encode()
        copy(source, PackSink(self.quarantine.git, limits), asked, "--revs")

    def _require_descent(self, head: str) -> None:
        own = self.clone.head
        base = _common(self.quarantine.git, own, head) if own and head else ""
        if own == base:
            return
        title, top = self.chosen.title, self.clone.top
        beside = f"git -C {top} worktree add {top}-{self.chosen.number} {base[:12]}, and --to that"
        raise Refused(f"{top} and {title} have diverged; nothing was changed", where=str(top),
                      saw=f"the clone's HEAD: {own}\nthe sandbox's HEAD: {head or 'no commit'}",
                      try_=beside if base else f"pifleet results restore {title}/{shown(self.unit.path)} --to FOLDER")

    def _tip(self, head: str) -> tuple[str, Work]:
        """The sandbox's HEAD, or a commit on top of it that has its uncommitted work, which is then here as well."""
        chosen, git = self.chosen, self.quarantine.git
        with chosen.contents() as contents:
            work = Work(self.unit, contents, chosen.store.limits)
            tip = head
            if not head or work.tree != contents.objects.tree(f"{head}^{{tree}}")[0]:
                seconds = int(datetime.fromisoformat(chosen.told["created"]).timestamp())
                title = f"Uncommitted work of {chosen.title}, generation {chosen.number}"
                tip, commit = work.commit([head] if head else [], title, seconds)
                work.send(chosen.store.git, git, commit)
        git.run("rev-list", "--objects", "--quiet", tip, "--not", "--all")
        return tip, work


def _require_rest(clone: Clone, unit: Unit) -> None:
    if unrest := clone.unrest():
        raise Refused(f"{clone.top} has unfinished work; nothing was changed", where=str(clone.top),
                      saw=f"{unrest}\nthe clone's HEAD: {clone.head or 'no commit'}\n"
                          f"the sandbox's HEAD: {unit.facts['head'] or 'no commit'}",
                      try_=f"git -C {clone.top} status, then commit or stash")


def _common(git: HomeGit, one: str, other: str) -> str:
    """The best common ancestor; "" where there is none."""
    try:
        return git.run("merge-base", one, other).decode().strip()
    except Refusal:
        return ""
