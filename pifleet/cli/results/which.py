"""Owns what DEV[/SANDBOX][/REPO[/PATH]] and --generation mean to the verbs below results.
It must not look into a generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from pifleet.cli.call import Call
from pifleet.results import Chosen, Limits, choose, kept_sandboxes

numbered: Callable[[Any], Any] = click.option(
    "-g", "--generation", type=click.IntRange(min=1), metavar="N", help="An earlier pull than the newest.")


@dataclass(frozen=True)
class Place:
    """A sandbox that home may have results of, also one that is gone from the inventory; `part` is REPO[/PATH]."""

    results: Path
    title: str
    id: str
    part: str = ""
    limits: Limits = field(default_factory=Limits)

    def choose(self, number: int | None) -> Chosen:
        """Raises BadInput where there is no such generation."""
        return choose(self.results, self.id, self.title, number, limits=self.limits)


@dataclass(frozen=True)
class Places:
    """The sandboxes that a call can mean."""

    call: Call

    @property
    def results(self) -> Path:
        return Path(self.call.fleet.results)

    @cached_property
    def gone(self) -> dict[str, str]:
        """Title -> id of those that only the results know."""
        return kept_sandboxes(self.results, {box.id for box in self.call.fleet.sandboxes})

    def _place(self, title: str, sandbox_id: str, part: str = "") -> Place:
        return Place(self.results, title, sandbox_id, part, Limits(**self.call.fleet.pull_limits))

    def all(self, titles: Sequence[str]) -> list[Place]:
        """Those named, or every one. Raises BadInput for a name that is none."""
        named = {title: found for title in titles
                 if self.call.fleet.sandbox(title) is None and (found := self._gone(title))}
        asked = [title for title in titles if title not in named]
        boxes = self.call.sandboxes(asked) if asked or not titles else ()
        narrowed = titles or self.call.developer or self.call.pattern
        gone = named.values() if narrowed else self.gone
        return [*(self._place(box.title, box.id) for box in boxes),
                *(self._place(title, self.gone[title]) for title in gone)]

    def one(self, typed: str) -> Place:
        """What DEV[/SANDBOX][/REPO[/PATH]] means: a sandbox of that name rather than a repository of it."""
        fleet = self.call.fleet
        developer, _, rest = typed.partition("/")
        name, _, below = rest.partition("/")
        whole = f"{developer}/{name}" if name else developer
        box = fleet.sandbox(whole)
        if box:
            return self._place(box.title, box.id, below if name else "")
        if title := self._gone(whole):
            return self._place(title, self.gone[title], below)
        box = fleet.sandbox(developer)
        if box and name:
            return self._place(box.title, box.id, rest)
        if title := self._gone(developer):
            return self._place(title, self.gone[title], rest)
        box = self.call.sandbox(whole)
        return self._place(box.title, box.id)

    def _gone(self, title: str) -> str:
        """The title of a sandbox that only the results know, by which DEV may mean the one called main; else ""."""
        return next((one for one in (title, f"{title}/main") if one in self.gone), "")
