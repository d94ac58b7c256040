"""Owns bringing a sandbox's work home before something ends it, and proving afterwards that all of it is there again.
It must not end or change a sandbox beyond starting it, nor print."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pifleet.errors import Trouble
from pifleet.events import Emit, silent
from pifleet.fleet import Fleet, Sandbox
from pifleet.operate import Act, Did, Say, each
from pifleet.phrases import count, size
from pifleet.results import Limits, Pull, pull
from pifleet.sandbox import Driver


@dataclass(frozen=True)
class Rescue:
    """The pulls made before sandboxes end, by title, and why some of these may not end now."""

    pulls: Mapping[str, Pull]
    refused: Mapping[str, Trouble]


def puller(fleet: Fleet) -> Act[Pull]:
    """The act of bringing home what one sandbox holds. Raises SandboxFailed when it does not run."""

    def act(driver: Driver, box: Sandbox, say: Say) -> Pull:
        driver.require_running(box)
        store = Path(fleet.results)
        return pull(
            lambda argv: driver.claimed(box, argv, "pull", store), sandbox=box.title, sandbox_id=box.id,
            repos=box.repos, store=store, artifacts=box.artifacts, limits=Limits(**fleet.pull_limits),
            progress=lambda what, received: say(f"{what}, {size(received)}"),
        )

    return act


def rescue(fleet: Fleet, at: Mapping[str, str], emit: Emit = silent, *, given_up: Collection[str] = ()) -> Rescue:
    """Pull every sandbox of `at` (title -> host), starting those that are stopped; `given_up` are not asked for."""
    boxes = [box for box in fleet.sandboxes if box.title in at and box.title not in given_up]
    act = puller(fleet)

    def started(driver: Driver, box: Sandbox, say: Say) -> Pull:
        driver.open_again(box)
        return act(driver, box, say)

    pulls = {did.box.title: pull_of(did) for did in each(fleet, boxes, started, emit, stage="pull", at=at)}
    troubles = {title: not_home(one) for title, one in pulls.items()}
    return Rescue(pulls, {title: _may_not_end(title, trouble) for title, trouble in troubles.items() if trouble})


def changed_since(fleet: Fleet, at: Mapping[str, str], before: Rescue, emit: Emit = silent) -> dict[str, Trouble]:
    """What of the sandboxes of `at` is not, byte for byte, what was brought home before; by title."""
    boxes = [box for box in fleet.sandboxes if box.title in at and box.title in before.pulls]
    pulls = {did.box.title: pull_of(did) for did in each(fleet, boxes, puller(fleet), emit, stage="prove", at=at)}
    return {title: _differs(one, before.pulls[title]) for title, one in pulls.items()
            if one.result != "unchanged" or one.generation != before.pulls[title].generation}


def pull_of(did: Did[Pull]) -> Pull:
    """The pull of one sandbox, also where it could not even begin."""
    return did.value or Pull(did.box.title, None, "failed", did.seconds, 0, trouble=did.error)


def not_home(one: Pull) -> Trouble | None:
    """Why a sandbox's work is not all at home; None when it is."""
    if one.complete:
        return None
    what = f"{one.sandbox}: {count(len(one.incomplete), 'entry', 'entries')} not at home"
    found = one.trouble or Trouble(what, saw="\n".join(f"{item.path}  {item.reason}" for item in one.incomplete))
    return replace(found, try_=found.try_ or f"pifleet pull {one.sandbox}")


def _may_not_end(title: str, trouble: Trouble) -> Trouble:
    return replace(trouble, try_=f"{trouble.try_}; pifleet provision --discard {title} goes on without it")


def _differs(now: Pull, before: Pull) -> Trouble:
    saw = now.trouble.headline if now.trouble else f"generation {before.generation} before, {now.generation} after"
    return Trouble(f"{now.sandbox} is not as it was before it was replaced", saw=saw,
                   try_=f"pifleet results diff {now.sandbox}")
