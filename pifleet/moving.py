"""Owns the ends of a move: the old sandbox stays, or its work is put into the new one, proven equal, and it goes.
It must not make a sandbox; where one moves, the new one is there, and the old one's work is home."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from pifleet.errors import SandboxFailed, Trouble
from pifleet.events import Emit, silent
from pifleet.fleet import Fleet, Sandbox
from pifleet.look import Look, look
from pifleet.operate import Say, each
from pifleet.phrases import size
from pifleet.removal import remove, targets
from pifleet.rescue import Rescue, puller
from pifleet.results import Limits, differences, put_back
from pifleet.sandbox import Driver


def staying(found: Look, titles: Collection[str]) -> Look:
    """The fleet as if those of `titles` that were to move were not, seen anew where there are any.

    Their hosts go on serving them where they are, and wait for none of them where they were to be.
    """
    stay = {title: host for title, host in found.placement.moves.items() if title in titles}
    if not stay:
        return found
    boxes = tuple(replace(box, host=stay.get(box.title, box.host)) for box in found.fleet.sandboxes)
    return look(replace(found.fleet, sandboxes=boxes), found.selection)


def finish_moves(found: Look, moves: Mapping[str, str], saved: Rescue, emit: Emit = silent) -> dict[str, Trouble]:
    """Bring what `saved` holds of the sandboxes of `moves` (title -> old host) to where they live now, and remove the
    old ones: also of those that were not saved, which are given up.

    Returns what stood in the way, by title; such a sandbox stays on its old host too, and the next run goes on.
    """
    at = {title: found.placement.host_of[title] for title in moves}
    troubles = bring_back(found.fleet, at, saved, emit)
    going = [target for target in targets(found) if target.host == moves.get(target.box.title)
             and target.box.title not in troubles]
    outcomes = remove(found, going, emit) if going else []
    return troubles | {outcome.sandbox: outcome.error for outcome in outcomes if outcome.error}


def bring_back(fleet: Fleet, at: Mapping[str, str], saved: Rescue, emit: Emit = silent) -> dict[str, Trouble]:
    """Put what `saved` holds into the new sandboxes of `at` (title -> host), and prove it equal; troubles by title."""
    store = Path(fleet.results)

    def act(driver: Driver, box: Sandbox, say: Say) -> None:
        number = saved.pulls[box.title].generation
        back = put_back(
            lambda argv: driver.claimed(box, argv, "restore", store), store=store, sandbox_id=box.id, generation=number,
            artifacts=box.artifacts, limits=Limits(**fleet.pull_limits),
            progress=lambda what, sent: say(f"{what}, {size(sent)}"),
        )
        if not back.complete:
            raise _stopped(box, back.trouble, [f"{unit.name}: {unit.result} {unit.reason}" for unit in back.units
                                               if unit.result not in ("restored", "equal")])
        now = puller(fleet)(driver, box, say)
        lacking = differences(store, box.id, number or 0, now.generation) if now.generation else ["nothing came home"]
        if lacking:
            raise _stopped(box, now.trouble, lacking)

    boxes = [box for box in fleet.sandboxes if box.title in at and saved.pulls.get(box.title)]
    done = each(fleet, boxes, act, emit, stage="move", at=at)
    return {did.box.title: did.error for did in done if did.error}


def _stopped(box: Sandbox, trouble: Trouble | None, lacking: list[str]) -> SandboxFailed:
    saw = trouble.saw or trouble.headline if trouble else "; ".join(lacking[:5])
    return SandboxFailed(f"the work of {box.title} is not whole in its new sandbox; all of it is at home",
                         saw=saw, try_=f"pifleet provision goes on; pifleet results list {box.title}")
