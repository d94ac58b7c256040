"""Owns the question whether two generations hold the same work, whoever captured it and whenever.
It must not write anywhere, or tell what a difference consists of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pifleet.results.choosing import choose, explained
from pifleet.results.names import shown
from pifleet.results.outgoing.telling import tips_of, trees_of
from pifleet.results.store.homegit import HomeGit
from pifleet.results.units import Unit

_WORDS = {"head": "HEAD", "head_ref": "its branch", "refs": "branches or tags", "stashes": "stashes",
          "operation_name": "the operation in progress", "snapshot": "files", "index": "staged changes",
          "ignored": "ignored files", "artifacts": "artifacts", "blocks": "big files",
          "operation": "the state of an operation"}


def differences(results: Path, sandbox_id: str, one: int, other: int) -> list[str]:
    """What of the work in generation `one` of a sandbox is not the same in `other`; empty where all is equal.

    Raises BadInput for a generation that is not there, PifleetError when the store is damaged.
    """
    before, after = (choose(results, sandbox_id, sandbox_id, number) for number in (one, other))
    with explained(before.store, before.title):
        return same_work([part.unit for part in before.parts], [part.unit for part in after.parts], before.store.git)


def same_work(before: Iterable[Unit], after: Iterable[Unit], git: HomeGit) -> list[str]:
    """What of the work before is not the same after, as "UNIT: what differs"; empty where all is equal.

    Compared are names of commits, and the trees of what captures made, not their dates. `after` may remember more
    commits besides, since a new clone knows more of its upstream.
    `git` holds the objects of both. Raises Refusal where one is missing.
    """
    old, new = {unit.key: unit for unit in before}, {unit.key: unit for unit in after}
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        if key not in new:
            found.append(f"{shown(old[key].path)}: it is gone")
        elif key not in old:
            found.append(f"{shown(new[key].path)}: it was not there")
        else:
            found += [f"{shown(old[key].path)}: {what}" for what in _differences(old[key], new[key], git)]
    return found


def _differences(old: Unit, new: Unit, git: HomeGit) -> list[str]:
    one, other = _work(old, git), _work(new, git)
    found = [word for name, word in _WORDS.items() if one.get(name) != other.get(name)]
    return found + (["commits that only a log remembers"] if _forgotten(old, new, git) else [])


def _work(unit: Unit, git: HomeGit) -> Mapping[str, object]:
    """An index that is as HEAD is not captured; "" stands for none."""
    trees = trees_of(git, unit)
    head = unit.facts["head"]
    index = trees.get("index") or (git.run("rev-parse", f"{head}^{{tree}}").decode().strip() if head else "")
    facts = {name: unit.facts[name] for name in ("head", "head_ref", "stashes", "operation_name")}
    return {**facts, **trees, "refs": unit.refs, "index": index}


def _forgotten(old: Unit, new: Unit, git: HomeGit) -> bool:
    """Whether a commit of the old log is nowhere in the new one."""
    tips = tips_of(git, old)
    asked = "".join([*(f"{oid}\n" for oid in tips), *(f"^{oid}\n" for oid in sorted(new.histories))]).encode()
    return bool(tips) and bool(git.run("rev-list", "--max-count=1", "--stdin", data=asked))
