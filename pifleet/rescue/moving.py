"""Owns the ends of a move: the old sandbox stays, or its work is put into the new one, proven equal, and it goes.
It must not make a sandbox; where one moves, the new one is there, and the old one's work is home."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pifleet.errors import SandboxFailed, Trouble
from pifleet.events import Emit, silent
from pifleet.fleet import Fleet, Sandbox
from pifleet.look import Look, look
from pifleet.operate import Say, each
from pifleet.patterns import seen_box
from pifleet.phrases import size
from pifleet.removal import remove, target
from pifleet.rescue import leaving
from pifleet.rescue.home import Rescue, changed_since, puller
from pifleet.results import Limits, differences, put_back
from pifleet.sandbox import Driver, driver_for


def as_it_is(found: Look, titles: Collection[str]) -> Fleet:
    """The fleet with those of `titles` that are to move as they still are."""
    moves = {title: old for title, old in found.placement.moves.items() if title in titles}
    return replace(found.fleet, sandboxes=tuple(moves.get(box.title, box) for box in found.fleet.sandboxes))


def staying(found: Look, titles: Collection[str]) -> Look:
    """The fleet as if those of `titles` that were to move were not, seen anew where there are any.

    Their hosts go on serving them where they are, and wait for none of them where they were to be.
    """
    if not any(title in found.placement.moves for title in titles):
        return found
    return look(as_it_is(found, titles), found.selection)


def finish_moves(found: Look, titles: Collection[str], saved: Rescue, emit: Emit = silent) -> dict[str, Trouble]:
    """Bring what `saved` holds of the sandboxes of `titles` to where they live now, and remove the old ones: also of
    those that were not saved, which are given up.

    Returns what stood in the way, by title; such a sandbox stays where it was too, and the next run goes on.
    """
    made = [box.title for box in found.fleet.sandboxes if box.title in titles and _is_made(found, box)]
    moves = {title: found.placement.moves[title] for title in made}
    at = {title: found.placement.host_of[title] for title in made}
    emptied = {title: host for title, host in at.items() if not _shared(found, moves[title])}
    kept = {title: host for title, host in at.items() if title not in emptied}
    troubles = bring_back(found.fleet, emptied, saved, emit) | changed_since(found.fleet, kept, saved, emit)
    proven = [old for title, old in moves.items() if title not in troubles]
    for old in proven:
        leaving.note(found.fleet, old)
    unmade = {title: Trouble(f"{title} was not made on {found.placement.host_of[title]}, so its old one stays",
                             try_="pifleet plan, then pifleet provision") for title in titles if title not in made}
    return troubles | unmade | _remove(found, proven, emit)


def finish_removals(found: Look, emit: Emit = silent) -> Look:
    """Remove what an earlier run had proven to be in a successor and could not remove; the fleet as it is then."""
    left = []
    for old in leaving.noted(found.fleet):
        box = found.fleet.sandbox(old.title)
        if box and (box.pattern, found.placement.host_of.get(old.title)) == (old.pattern, old.host):
            leaving.forget(found.fleet, old)  # it was wanted again, and has been at work since
        elif box and old.host in found.seen and found.selection.has_host(old.host) and _is_made(found, box):
            left.append(old)
    _remove(found, left, emit)
    return look(found.fleet, found.selection, emit) if left else found


def _remove(found: Look, old: Sequence[Sandbox], emit: Emit) -> dict[str, Trouble]:
    """Remove these where they say they are; what stood in the way, by title."""
    outcomes = remove(found, [target(found, box, box.host) for box in old], emit) if old else []
    gone = {outcome.sandbox for outcome in outcomes if not outcome.error}
    for box in old:
        if box.title in gone:
            leaving.forget(found.fleet, box)
    return {outcome.sandbox: outcome.error for outcome in outcomes if outcome.error}


def _is_made(found: Look, box: Sandbox) -> bool:
    """Whether a sandbox is where it belongs: its host then knows what of the old one it shares."""
    home = found.seen.get(found.placement.host_of.get(box.title, ""))
    return bool(home and seen_box(home.data, box))


def _shared(found: Look, old: Sandbox) -> bool:
    """Whether the new sandbox works in the very folders of the old one."""
    box = found.fleet.sandbox(old.title)
    here = found.placement.host_of[old.title] == old.host
    return here and bool(box) and all(driver_for(one.pattern).keeps_work for one in (old, box) if one)


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
