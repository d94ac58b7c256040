"""Owns what the verbs that bring work home share: one sandbox's pull, and how pulls read.
It must not know how a pull works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pifleet.cli.call import near
from pifleet.errors import Trouble
from pifleet.fleet import Fleet, Sandbox
from pifleet.operate import Act, Did, Say
from pifleet.output import Output, Row, mark
from pifleet.phrases import count, seconds, size
from pifleet.report import merge, names_of
from pifleet.results import Pull, pull
from pifleet.sandbox import Driver

ITEMS_SHOWN = 10


def puller(fleet: Fleet) -> Act[Pull]:
    """The act of bringing home what one sandbox holds. Raises SandboxFailed when it does not run."""

    def act(driver: Driver, box: Sandbox, say: Say) -> Pull:
        driver.require_running(box)
        return pull(
            lambda argv: driver.stream(box, argv), sandbox=box.title, sandbox_id=box.id, repos=box.repos,
            store=Path(fleet.results), progress=lambda what, received: say(f"{what}, {size(received)}"),
        )

    return act


def pulls_of(done: Sequence[Did[Pull]]) -> list[Pull]:
    """One Pull for each sandbox, also where it could not even begin."""
    return [did.value or Pull(did.box.title, None, "failed", did.seconds, 0, trouble=did.error) for did in done]


def show_pulls(output: Output, pulls: Sequence[Pull]) -> None:
    """A row for each pull, what of a sandbox is not at home, and each error once."""
    output.table([_row(one) for one in pulls])
    for one in pulls:
        for title, items in (("not at home", one.incomplete), ("only in the store", one.refused)):
            for item in items[:ITEMS_SHOWN]:
                output.say(f"  {one.sandbox}  {title}: {item.path}  {item.reason}")
            if len(items) > ITEMS_SHOWN:
                output.say(f"  {one.sandbox}  {title}: {len(items) - ITEMS_SHOWN} more, see receipt.json")
    output.errors(merge((names_of(one.sandbox), one.trouble) for one in pulls if one.trouble))


def failed(pulls: Sequence[Pull]) -> bool:
    """Whether something of some sandbox is not at home."""
    return any(not one.complete for one in pulls)


def not_home(one: Pull) -> Trouble | None:
    """Why a sandbox's work is not all at home; None when it is."""
    if one.complete:
        return None
    what = f"{one.sandbox}: {count(len(one.incomplete), 'entry', 'entries')} not at home"
    found = one.trouble or Trouble(what, saw="\n".join(f"{item.path}  {item.reason}" for item in one.incomplete))
    return replace(found, try_=found.try_ or f"pifleet pull {one.sandbox}")


def _row(one: Pull) -> Row:
    known = f"generation {one.generation}" if one.generation else ""
    where = near(one.path) if one.result in ("new", "partial") else known
    repos = ", ".join(f"{repo.name} {repo.head[:8] or 'no commit'}" for repo in one.repos)
    text = "; ".join(filter(None, (where, repos)))
    took = one.trouble.headline if one.trouble else f"{size(one.bytes)}, {seconds(one.seconds)}"
    return Row((mark(one.result), one.sandbox, text, took), quiet=one.result == "unchanged")
