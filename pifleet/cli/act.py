"""Owns what verbs that act on named sandboxes share: who is meant, the rows they end in, one sandbox's open driver.
It must not know any single verb."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import click

from pifleet.cli.call import Call
from pifleet.errors import BadInput, SandboxFailed, Trouble
from pifleet.events import silent
from pifleet.fleet import Host, Sandbox
from pifleet.operate import Act, Did, Say, each, homes
from pifleet.report import document, exit_code, merge_outcomes
from pifleet.sandbox import Driver, driver_for

T = TypeVar("T")

some = click.argument("names", metavar="[DEV]...", nargs=-1)
all_option = click.option("--all", "everyone", is_flag=True, help="Every sandbox of the fleet.")


def meant(call: Call, names: Sequence[str], *, everyone: bool) -> tuple[Sandbox, ...]:
    """The sandboxes named or selected. Raises BadInput when nothing was said, since that would mean all of them."""
    if not (names or everyone or call.developer or call.pattern or call.limit):
        raise BadInput("no sandbox was named", try_="name one (DEV or DEV/SANDBOX), or say --all")
    return call.sandboxes(names)


def each_of(
    call: Call, boxes: Sequence[Sandbox], act: Act[T], *, stage: str, at: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> list[Did[T]]:
    """Do `act` to every one of `boxes` on the selected hosts, with progress unless `quiet`.

    `at` says where they live, when that is known already.
    """
    fleet = call.fleet
    with nullcontext(silent) if quiet else call.output.progress() as emit:
        return each(fleet, boxes, act, emit, stage=stage, selection=call.selection, at=at)


def finish(call: Call, kind: str, done: Sequence[Did[bool]]) -> int:
    """Show a row for each sandbox (an act says whether it changed it), each error once, and the document.

    Returns the exit code.
    """
    from pifleet.cli.tables import outcome_row

    outcomes = [did.outcome("changed" if did.value else "ok") for did in done]
    call.output.table([outcome_row(outcome, f"@ {outcome.host or '?'}") for outcome in outcomes])
    call.output.errors(merge_outcomes(outcomes))
    if not outcomes:
        call.output.say("no sandbox is selected")
    call.output.document(document(kind, outcomes=[outcome.as_json() for outcome in outcomes]))
    return exit_code(outcomes)


def turned(
    call: Call, kind: str, wanted: str, turn: Callable[[Driver, Sandbox], None], names: Sequence[str], *, everyone: bool
) -> int:
    """`turn` each sandbox that is meant into the state `wanted`; one that was in it before counts as unchanged.

    Returns the exit code. Raises BadInput when nothing was said.
    """

    def one(driver: Driver, box: Sandbox, _: Say) -> bool:
        before = driver.state(box)
        turn(driver, box)
        return before != wanted

    return finish(call, kind, each_of(call, meant(call, names, everyone=everyone), one, stage=kind))


@contextmanager
def opened(call: Call, name: str) -> Iterator[tuple[Driver, Sandbox, Host]]:
    """The one sandbox of this name, found running, with its open driver and its host.

    Raises BadInput, SandboxFailed, HostFailed.
    """
    box, host = located(call, name)
    with driver_for(box.pattern)(host) as driver:
        driver.require_running(box)
        yield driver, box, host


def located(call: Call, name: str) -> tuple[Sandbox, Host]:
    """The one sandbox of this name and its host. Raises BadInput, SandboxFailed."""
    box = call.sandbox(name)
    with call.output.progress() as emit:
        home = homes(call.fleet, [box], emit)[box.title]
    if isinstance(home, Trouble):
        raise SandboxFailed(home.headline, saw=home.saw, where=home.where, try_=home.try_)
    return box, call.fleet.hosts[home]
