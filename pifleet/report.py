"""Owns what a finished run means: outcomes, the JSON documents that others build on, merged errors and exit codes.
It must not reach anything, print anything or know which verb ran."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pifleet.errors import BadInput, PifleetError, Refused, Trouble

Result = Literal["ok", "changed", "failed", "skipped", "unreachable"]
Verdict = Literal["pass", "note", "warn", "fail"]

GOOD, FAILED, BAD_INPUT, PENDING, INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True)
class Outcome:
    """What became of one host (empty `sandbox`) or one sandbox. `seconds` is wall time spent on it."""

    host: str
    sandbox: str
    result: Result
    seconds: float = 0.0
    error: Trouble | None = None

    @property
    def name(self) -> str:
        return self.sandbox or self.host

    @property
    def good(self) -> bool:
        """Whether this leaves nothing to do; a row skipped without an error was not wanted."""
        return self.result in ("ok", "changed") or (self.result == "skipped" and self.error is None)

    def as_json(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "sandbox": self.sandbox or None,
            "result": self.result,
            "seconds": round(self.seconds, 1),
            "error": self.error.as_json() if self.error else None,
        }


@dataclass(frozen=True)
class Check:
    """One thing looked at in `place` (a host, a sandbox, the controller): a verdict, what it is, and what to do."""

    place: str
    name: str
    verdict: Verdict
    text: str
    saw: str = ""
    try_: str = ""

    @classmethod
    def of(cls, place: str, name: str, good: bool, text: str, try_: str) -> Check:
        """A check that passes when `good`; if not, `try_` says how to go on."""
        return cls(place, name, "pass", text) if good else cls(place, name, "fail", text, try_=try_)

    def as_json(self) -> dict[str, Any]:
        return {"place": self.place, "check": self.name, "verdict": self.verdict, "text": self.text,
                "saw": self.saw, "try": self.try_}


@dataclass(frozen=True)
class Merged:
    """One error, as the first place saw it, and every host or sandbox that reported it."""

    trouble: Trouble
    places: tuple[str, ...] = ()


def document(kind: str, **fields: Any) -> dict[str, Any]:
    """A JSON document of this kind: what `-o json` prints. Version 1 of a shape only ever gains keys."""
    return {"schema": f"pifleet.{kind}/1", **fields}


def error_document(error: PifleetError) -> dict[str, Any]:
    """What `-o json` prints when a verb could not do its work at all."""
    mistakes = error.mistakes if isinstance(error, BadInput) else ()
    shown = [{"path": item.path, "seen": item.seen, "wanted": item.wanted} for item in mistakes]
    return document("error", error=error.trouble.as_json(), mistakes=shown)


def merge(reported: Iterable[tuple[tuple[str, ...], Trouble]]) -> list[Merged]:
    """Every different error once, in order of first appearance. Each report comes with its place's names, the one to
    show first; errors that differ only in those names (`... on farm-1`, `... on farm-2`) are the same error."""
    found: dict[tuple[str, ...], tuple[Trouble, list[str]]] = {}
    for names, trouble in reported:
        key = tuple(_without(names, text) for text in trouble.as_json().values())
        found.setdefault(key, (trouble, []))[1].append(names[0])
    return [Merged(trouble, tuple(dict.fromkeys(places))) for trouble, places in found.values()]


def _without(names: tuple[str, ...], text: str) -> str:
    for name in filter(None, names):
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "*", text)
    return text


def merge_outcomes(outcomes: Iterable[Outcome]) -> list[Merged]:
    """The errors of these outcomes, each once."""
    return merge(((*names_of(outcome.name), outcome.host), outcome.error) for outcome in outcomes if outcome.error)


def names_of(place: str) -> tuple[str, ...]:
    """A host's name, or a sandbox's title and its developer: what an error about this place alone may mention."""
    return tuple(dict.fromkeys((place, place.partition("/")[0])))


def exit_code(outcomes: Iterable[Outcome] = (), *, failed: bool = False, pending: bool = False) -> int:
    """0 good, 1 something failed or was not observed, 3 changes pending or not confirmed; 1 beats 3 beats 0."""
    if failed or not all(outcome.good for outcome in outcomes):
        return FAILED
    return PENDING if pending else GOOD


def exit_code_of(error: PifleetError) -> int:
    """The exit code of an error that ended the whole verb."""
    if isinstance(error, BadInput):
        return BAD_INPUT
    return PENDING if isinstance(error, Refused) else FAILED
