"""Owns the value that everything at home is told in: one repository or plain tree as a generation holds it.
It must not know how it arrived or where it is kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pifleet.results.capture import framing

TREES = ("workspace", "sessions")
# What generations of earlier versions do not tell; they stay readable for good.
SINCE = {"upstream": ()}
COMMITS = ("snapshot", "index", "ignored", "artifacts", "blocks", "operation", "tips")


@dataclass
class Unit:
    """One repository or plain tree as it landed; `facts` are the announced words and ids, `refs` name -> id."""

    kind: str
    path: bytes
    state: str
    facts: dict[str, Any]
    refs: dict[str, str] = field(default_factory=dict)
    notes: list[tuple[bytes, str, int]] = field(default_factory=list)

    @property
    def key(self) -> str:
        """How a request names it."""
        return f"{self.kind}:{self.path.decode('latin-1')}"

    @property
    def commits(self) -> dict[str, str]:
        """The commits that capture made, by name."""
        return {name: self.facts[name] for name in COMMITS if self.facts.get(name)}

    @property
    def ids(self) -> set[str]:
        return {*self.certain, *self.refs.values()}

    @property
    def histories(self) -> set[str]:
        """Commits and tags of the sandbox itself, with all that they reach."""
        named = (self.facts["head"], self.facts["tips"])
        return {*self.refs.values(), *self.facts["stashes"], *self.facts["upstream"], *filter(None, named)}

    @property
    def certain(self) -> set[str]:
        """Those that must be commits, apart from branches."""
        head = filter(None, [self.facts["head"]])
        return {*self.commits.values(), *self.facts["stashes"], *self.facts["upstream"], *head}

    def as_json(self) -> dict[str, Any]:
        notes = [{"path": os.fsdecode(path), "reason": reason, "bytes": size} for path, reason, size in self.notes]
        return {"kind": self.kind, "path": os.fsdecode(self.path), "state": self.state, **self.facts,
                "refs": self.refs, "notes": notes}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Unit:
        notes = [(os.fsencode(note["path"]), note["reason"], note["bytes"]) for note in stored["notes"]]
        own = ("kind", "path", "state", "refs", "notes")
        facts = {**SINCE, **{name: value for name, value in stored.items() if name not in own}}
        return cls(stored["kind"], os.fsencode(stored["path"]), stored["state"], facts, dict(stored["refs"]), notes)


def state_of(units: Iterable[Unit]) -> str:
    """The digest of all units' states, by which a request names what home holds; "" where that is nothing."""
    return framing.state_of((unit.key, unit.state) for unit in units)
