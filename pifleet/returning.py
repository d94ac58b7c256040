"""Owns remembering, beside the results, which work still has to go back into a sandbox that was made anew.
It must not bring anything back itself. A run that is cut off leaves its notes, and the next one goes on from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pifleet.fleet import Fleet, Sandbox
from pifleet.look import Look, seen_box
from pifleet.results import Pull
from pifleet.sandbox import driver_for


def keeps_work(fleet: Fleet, title: str) -> bool:
    """Whether a sandbox that is replaced where it is holds its work by itself."""
    box = fleet.sandbox(title)
    return not box or driver_for(box.pattern).keeps_work


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
    """What earlier runs did not bring back, by title. A note of a sandbox that is still the old one is void."""
    waiting = {}
    for box in found.fleet.sandboxes:
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
    seen = found.seen.get(found.placement.host_of.get(box.title, ""))
    return str(((seen_box(seen.data, box) if seen else None) or {}).get("container", ""))


def _path(fleet: Fleet, box: Sandbox) -> Path:
    return Path(fleet.results, ".store", box.id + ".returning")
