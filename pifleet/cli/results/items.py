"""Owns how the entries of receipts read: a few lines, and how many more there are.
It must not know what they are listed for."""

from __future__ import annotations

from collections.abc import Sequence

from pifleet.output import Output
from pifleet.results import Chosen, Item

SHOWN = 20


def say_items(output: Output, title: str, items: Sequence[Item]) -> None:
    """A line for each of the first, under what they have in common."""
    for item in items[:SHOWN]:
        output.say(f"  {title}: {item.path}  {item.reason}")
    if len(items) > SHOWN:
        output.say(f"  {title}: {len(items) - SHOWN} more, see -o json")


def heading(chosen: Chosen) -> str:
    """`ana/main generation 3, 2026-01-31 12:00 UTC`."""
    return f"{chosen.title} generation {chosen.number}, {when(chosen.told['created'])}"


def when(created: str) -> str:
    """A receipt's time for people."""
    return f"{created[:10]} {created[11:16]} UTC"
