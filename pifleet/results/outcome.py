"""Owns what a pull says afterwards, as values and as JSON. It must not know how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pifleet.errors import Trouble

Result = Literal["new", "unchanged", "partial", "refused", "failed"]


@dataclass(frozen=True)
class RepoResult:
    """One repository: the commit ids of its HEAD ("" before a first commit) and snapshot, the number of its files."""

    name: str
    head: str
    snapshot: str
    files: int


@dataclass(frozen=True)
class Item:
    """One thing named in a receipt: where, in which words of the receipt, why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Pull:
    """What one pull of one sandbox came to. `seconds` it took, `bytes` received.

    `refused`: entries that are safe in the store but not written as plain files, or why nothing landed.
    `incomplete`: what of the sandbox is not at home. `both_kept`: what a person has at a path of the folder where this
    pull had something else to say; "changed.here": the sandbox's own was written beside it, as NAME.generation-N;
    "kept.here": it has none any more. `path` is the sandbox's plain folder, None where nothing came home. With a
    generation, `trouble` is that this folder could not be written.
    """

    sandbox: str
    generation: int | None
    result: Result
    seconds: float
    bytes: int
    repos: tuple[RepoResult, ...] = ()
    refused: tuple[Item, ...] = ()
    incomplete: tuple[Item, ...] = ()
    both_kept: tuple[Item, ...] = ()
    path: Path | None = None
    trouble: Trouble | None = None

    @property
    def complete(self) -> bool:
        """Whether everything that was in the sandbox is at home; only then may the sandbox go."""
        return self.result in ("new", "unchanged") and not self.incomplete

    def as_json(self) -> dict[str, Any]:
        """One element of `pulls`."""
        return {
            "sandbox": self.sandbox, "generation": self.generation, "result": self.result,
            "seconds": round(self.seconds, 3), "bytes": self.bytes,
            "repos": [vars(repo) for repo in self.repos],
            "refused": [vars(item) for item in self.refused], "incomplete": [vars(item) for item in self.incomplete],
            "both_kept": [vars(item) for item in self.both_kept],
            "path": _text(self.path), "error": self.trouble.as_json() if self.trouble else None,
        }


@dataclass(frozen=True)
class Generation:
    """One earlier pull, as its receipt tells it; `created` is ISO 8601 in UTC.

    `path` is the sandbox's plain folder for the generation that it shows, the newest; None for all others.
    """

    number: int
    created: str
    complete: bool
    sandbox: str
    repos: tuple[RepoResult, ...]
    incomplete: tuple[Item, ...]
    path: Path | None

    def as_json(self) -> dict[str, Any]:
        return {"generation": self.number, "created": self.created, "complete": self.complete, "sandbox": self.sandbox,
                "repos": [vars(repo) for repo in self.repos], "incomplete": [vars(item) for item in self.incomplete],
                "path": _text(self.path)}


def _text(path: Path | None) -> str | None:
    return str(path) if path else None
