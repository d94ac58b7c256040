"""Owns the shape of everything that can go wrong for a user: headline, what was seen, where, what to try.
It must not print, exit or know which verb is running."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Mistake:
    """One thing wrong in the operator's input: `path` in the inventory, what was `seen`, what is `wanted`."""

    path: str
    seen: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.path}: saw {self.seen}; {self.wanted}"


@dataclass(frozen=True)
class Trouble:
    """What went wrong on one host or in one sandbox; a row in a report, never a traceback.

    `try_` is the next command to type, or an empty string where none is known.
    """

    headline: str
    saw: str = ""
    where: str = ""
    try_: str = ""

    def as_json(self) -> dict[str, str]:
        return {"headline": self.headline, "saw": self.saw, "where": self.where, "try": self.try_}


class PifleetError(Exception):
    """Base of all errors that a user is meant to read."""

    def __init__(self, headline: str, *, saw: str = "", where: str = "", try_: str = "") -> None:
        super().__init__(headline)
        self.trouble = Trouble(headline, saw, where, try_)


class BadInput(PifleetError):
    """The operator's input cannot be used; nothing was touched (exit code 2)."""

    def __init__(self, headline: str, mistakes: tuple[Mistake, ...] = (), **facts: str) -> None:
        super().__init__(headline, **facts)
        self.mistakes = mistakes


class HostFailed(PifleetError):
    """A host did not answer or could not do what it was asked; becomes a row for that host."""

    def __init__(self, headline: str, *, unreachable: bool = False, **facts: str) -> None:
        super().__init__(headline, **facts)
        self.unreachable = unreachable


class SandboxFailed(PifleetError):
    """A sandbox did not answer or could not do what it was asked; becomes a row for that sandbox."""


class Refused(PifleetError):
    """pifleet declined on purpose: confirmation missing, work not home, agent at work (exit code 3)."""


@dataclass
class Mistakes:
    """Collects every mistake of an input, so that all are shown at once."""

    found: list[Mistake] = field(default_factory=list)

    def add(self, path: str, seen: str, wanted: str) -> None:
        self.found.append(Mistake(path, seen, wanted))

    def raise_any(self, headline: str) -> None:
        """Raise BadInput with everything found, in the order of the inventory's paths; return when nothing was."""
        if self.found:
            raise BadInput(headline, tuple(dict.fromkeys(self.found)))
