"""Owns knowing which work still has to go back into a sandbox that is made anew, and remembering it beside the results.
It must not bring anything back itself. A run that is cut off leaves its notes, and the next one goes on from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pifleet.fleet import Fleet, Sandbox
from pifleet.look import Look
from pifleet.patterns import seen_box
from pifleet.plan import Step
from pifleet.results import Pull, list_generations
from pifleet.sandbox import driver_for


def keeps_work(fleet: Fleet, title: str) -> bool:
    """Whether a sandbox that is replaced where it is holds its work by itself."""
    box = fleet.sandbox(title)
    return not box or driver_for(box.pattern).keeps_work


def lost(found: Look, steps: Iterable[Step]) -> dict[str, Pull]:
    """What home has of sandboxes that have to be made again although nobody removed them, by title.

    A sandbox that pifleet removes goes with its folder on the host; one that somebody else ended leaves that behind.
    """
    gone = {}
    for step in steps:
        box = found.fleet.sandbox(step.sandbox) if step.kind == "sandbox" and step.action == "create" else None
        if not box or keeps_work(found.fleet, box.title):
            continue
        seen = found.seen[step.host].data
        if box.pattern in seen["unknown"] or not seen["paths"].get(str(box.root)):  # what was not seen may be there
            continue
        if kept := list_generations(Path(found.fleet.results), box.id):
            gone[box.title] = Pull(box.title, kept[-1].number, "unchanged", 0.0, 0)
    return gone


def note(found: Look, pulls: Iterable[Pull]) -> None:
    """Remember that what these pulls brought home is what the sandboxes' successors have to hold."""
    for one in pulls:
        box = found.fleet.sandbox(one.sandbox)
        if box and one.generation and not keeps_work(found.fleet, box.title):
            path = _path(found.fleet, box)
            text = json.dumps({"generation": one.generation, "container": _container(found, box)})
            path.with_suffix(".new").write_text(text, encoding="ascii")
            path.with_suffix(".new").rename(path)


def pending(found: Look) -> dict[str, Pull]:
    """What earlier runs did not bring back, by title. A note of a sandbox that is still the old one is void, and so is
    one of a sandbox that keeps its work by itself now."""
    waiting = {}
    for box in found.fleet.sandboxes:
        if driver_for(found.placement.moves.get(box.title, box).pattern).keeps_work:
            continue
        try:
            said = json.loads(_path(found.fleet, box).read_text(encoding="ascii"))
            generation, container = int(said["generation"]), said["container"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
        here = found.selection.has_host(found.placement.host_of.get(box.title, ""))
        if here and _container(found, box) != container:
            waiting[box.title] = Pull(box.title, generation, "unchanged", 0.0, 0)
    return waiting


def forget(fleet: Fleet, title: str) -> None:
    """What had to go back is there."""
    if box := fleet.sandbox(title):
        _path(fleet, box).unlink(missing_ok=True)


def _container(found: Look, box: Sandbox) -> str:
    """The container of a sandbox, of one that is to move the old one's."""
    old = found.placement.moves.get(box.title)
    seen = found.seen.get(old.host if old else found.placement.host_of.get(box.title, ""))
    return str(((seen_box(seen.data, old or box) if seen else None) or {}).get("container", ""))


def _path(fleet: Fleet, box: Sandbox) -> Path:
    return Path(fleet.results, ".store", box.id + ".returning")
