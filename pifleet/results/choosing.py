"""Owns which generation, and which part of it, a person means who types a number and a path.
It must not read a file's bytes or write anywhere."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pifleet.errors import BadInput, Mistake, PifleetError
from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import shown
from pifleet.results.receipt import units_of
from pifleet.results.store.contents import Contents
from pifleet.results.store.generations import Store
from pifleet.results.units import Unit
from pifleet.wording import choose as nearest
from pifleet.wording import listed, show

_FEW = 12


@dataclass(frozen=True)
class Part:
    """What of one unit is meant: `path` in it, or all of it where that is empty. `place` is the unit's own name."""

    unit: Unit
    place: bytes
    path: bytes = b""


@dataclass(frozen=True)
class Chosen:
    """One generation that is there: its commit, its receipt as told, and each unit with the name that it goes by."""

    store: Store
    number: int
    commit: str
    told: dict[str, Any]
    parts: tuple[Part, ...]

    @property
    def title(self) -> str:
        return str(self.told["sandbox"])

    def contents(self) -> Contents:
        """To be used as a context manager."""
        return Contents(self.store.git, self.store.limits)

    def part(self, typed: str) -> list[Part]:
        """What `REPO[/PATH]` means: a part of the unit that holds it, and all of every unit below it.

        Names may be typed as they are or as they are shown. Raises BadInput where no unit has such a name.
        """
        if not (name := os.fsencode(typed).strip(b"/")):
            return list(self.parts)
        holders = [(len(own), part, name[len(own) + 1 :]) for part in self.parts for own in _names(part)
                   if name == own or name.startswith(own + b"/")]
        found = [Part(part.unit, part.place, path) for _, part, path in sorted(holders, key=lambda one: one[0])[-1:]]
        inside = [part for part in self.parts if any(own.startswith(name + b"/") for own in _names(part))]
        if not found and not inside:
            places = [shown(part.place) for part in self.parts]
            raise BadInput(f"generation {self.number} of {self.title} has nothing of this name",
                           (Mistake("REPO", show(typed), nearest(typed.strip("/"), places)),))
        return found + [part for part in inside if part.unit not in [one.unit for one in found]]

    def repository(self, typed: str) -> Part:
        """The one repository of exactly this name. Raises BadInput."""
        name = os.fsencode(typed).strip(b"/")
        repos = [part for part in self.parts if part.unit.kind == "repo"]
        for part in repos:
            if name in _names(part):
                return part
        raise BadInput(f"generation {self.number} of {self.title} has no such repository",
                       (Mistake("REPO", show(typed), nearest(typed, [shown(part.place) for part in repos])),))


def choose(results: Path, sandbox_id: str, title: str, number: int | None = None, *,
           limits: Limits | None = None) -> Chosen:
    """Generation `number` of a sandbox, or its newest, from the store alone, read under the limits of its pull.

    Raises BadInput where there is none of that number, PifleetError when the store is damaged.
    """
    store = Store(results, sandbox_id, limits or Limits())
    with explained(store, title):
        there = store.generations()
        require(title, there, number)
        wanted = number or max(there)
        told, _ = store.receipt(there[wanted])
    parts = tuple(Part(unit, _place(unit, stored.get("folder", "")))
                  for unit, stored in zip(units_of(told), told["units"], strict=True))
    return Chosen(store, wanted, there[wanted], told, parts)


def require(title: str, there: Collection[int], number: int | None) -> None:
    """Raises BadInput where generation `number`, or any where that is None, is not `there`."""
    if not there:
        raise BadInput(f"nothing has been pulled from {title} yet", try_=f"pifleet pull {title}")
    if number is not None and number not in there:
        few = [str(one) for one in there]
        right = listed(few) if len(few) <= _FEW else f"one of {len(few)} from {few[0]} to {few[-1]}"
        raise BadInput(f"{title} has no generation {number}", (Mistake("--generation", str(number), f"use {right}"),),
                       try_=f"pifleet results list {title}")


def kept_sandboxes(results: Path, known: Set[str]) -> dict[str, str]:
    """Title -> id of every sandbox that home has a generation of, but those whose ids are `known` already."""
    found: dict[str, str] = {}
    for folder in sorted(path for path in (results / ".store").glob("*.git") if path.stem not in known):
        store = Store(results, folder.stem, Limits())
        with explained(store, folder.stem):
            there = store.generations()
            if there:
                found[str(store.receipt(there[max(there)])[0]["sandbox"])] = folder.stem
    return found


@contextmanager
def explained(store: Store, title: str) -> Iterator[None]:
    """Around whatever reads a store: a Refusal becomes the PifleetError that a person is told."""
    try:
        yield
    except Refusal as refusal:
        raise PifleetError(f"the store of {title} is damaged", saw=f"{refusal.code}: {refusal}",
                           where=str(store.folder), try_=f"pifleet results verify {title}") from None


def _place(unit: Unit, folder: str) -> bytes:
    """The name by which the receipt says that a unit is found; a repository that nobody expected is `workspace/X`."""
    if unit.kind == "tree" or folder in ("", shown(unit.path)):
        return unit.path
    return b"workspace" if unit.path == b"." else b"workspace/" + unit.path


def _names(part: Part) -> set[bytes]:
    names = {part.place, part.unit.path}
    return names | {shown(name).encode() for name in names}
