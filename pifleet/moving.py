"""Owns the last part of a move between hosts: work put into the new sandbox, proven equal, then the old one removed.
It must not make a sandbox; the new one is there, and the old one's work is home."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pifleet.errors import SandboxFailed, Trouble
from pifleet.events import Emit, silent
from pifleet.fleet import Sandbox
from pifleet.look import Look
from pifleet.operate import Say, each
from pifleet.phrases import size
from pifleet.removal import remove, targets
from pifleet.rescue import Rescue, puller
from pifleet.results import differences, put_back
from pifleet.sandbox import Driver


def finish_moves(found: Look, moves: Mapping[str, str], saved: Rescue, emit: Emit = silent) -> dict[str, Trouble]:
    """Bring what `saved` holds of the sandboxes of `moves` (title -> old host) to where they live now.

    Returns what stood in the way, by title; such a sandbox stays on its old host too, and the next run goes on.
    """
    store, fleet = Path(found.fleet.results), found.fleet

    def act(driver: Driver, box: Sandbox, say: Say) -> None:
        number = saved.pulls[box.title].generation
        back = put_back(
            lambda argv: driver.stream(box, argv), store=store, sandbox_id=box.id, generation=number,
            artifacts=box.artifacts, progress=lambda what, sent: say(f"{what}, {size(sent)}"),
        )
        if not back.complete:
            raise _stopped(box, back.trouble, [f"{unit.name}: {unit.result} {unit.reason}" for unit in back.units
                                               if unit.result not in ("restored", "equal")])
        now = puller(fleet)(driver, box, say)
        lacking = differences(store, box.id, number or 0, now.generation) if now.generation else ["nothing came home"]
        if lacking:
            raise _stopped(box, now.trouble, lacking)

    boxes = [box for box in fleet.sandboxes if box.title in moves and saved.pulls.get(box.title)]
    at = {box.title: found.placement.host_of[box.title] for box in boxes}
    done = each(fleet, boxes, act, emit, stage="move", at=at)
    troubles = {did.box.title: did.error for did in done if did.error}
    going = [target for target in targets(found) if target.host == moves.get(target.box.title)
             and target.box.title in at and target.box.title not in troubles]
    outcomes = remove(found, going, emit) if going else []
    return troubles | {outcome.sandbox: outcome.error for outcome in outcomes if outcome.error}


def _stopped(box: Sandbox, trouble: Trouble | None, lacking: list[str]) -> SandboxFailed:
    saw = trouble.saw or trouble.headline if trouble else "; ".join(lacking[:5])
    return SandboxFailed(f"{box.title} has not moved: its work is not whole on its new host, and stays on the old one",
                         saw=saw, try_="pifleet provision goes on")
