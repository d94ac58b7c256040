"""Owns what a sandbox that moves is in a plan: leaving its old host or pattern is a step of its own.
It must not move anything; what brings the work across is pifleet.rescue."""

from __future__ import annotations

from collections.abc import Container, Mapping

from pifleet.fleet import Fleet, Sandbox
from pifleet.observe import Observed
from pifleet.patterns import seen_box
from pifleet.place import Placement
from pifleet.plan import Step, at_work
from pifleet.selection import Selection


def with_moves(
    steps: list[Step], placement: Placement, seen: Mapping[str, Observed], fleet: Fleet, selection: Selection,
    wanted: set[str], unfit: Container[str] = (),
) -> list[Step]:
    """The steps, where leaving a sandbox's old host or pattern is one of its own and not that of something forgotten.

    Until the old one is gone the new one is not replaced: its work may be that of both. Nothing leaves for an `unfit`
    host.
    """
    hosts = {title: (old.host, placement.host_of[title]) for title, old in placement.moves.items()}
    moves = {title: old for title, old in placement.moves.items()
             if title in wanted and all(map(selection.has_host, hosts[title])) and hosts[title][1] not in unfit}

    def stays(step: Step) -> bool:
        old = placement.moves.get(step.sandbox)
        if not old:
            return True
        home = placement.host_of[old.title]
        return step.action not in ("stop", "replace") and (step.host != old.host or old.host == home)

    leaving = [_leave(fleet.sandbox(title), old, placement.host_of[title], seen[old.host])
               for title, old in moves.items()]
    return [*filter(stays, steps), *leaving]


def _leave(box: Sandbox | None, old: Sandbox, new: str, seen: Observed) -> Step:
    there = seen_box(seen.data, old)
    before, after = {"host": old.host}, {"host": new}
    item, why = "sandbox", f"moves to {new}"
    if box and box.pattern != old.pattern:
        before, after = {**before, "pattern": old.pattern}, {**after, "pattern": box.pattern}
        item, why = f"{old.pattern} sandbox", f"becomes {box.pattern}" + (f" on {new}" if new != old.host else "")
    return Step("sandbox", old.host, old.title, item, "remove", f"{why}, with its work", f"sandbox_{old.pattern}",
                before, after, destructive=at_work(there) if there else False)
