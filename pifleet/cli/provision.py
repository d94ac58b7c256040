"""Owns the verb provision: look, ask, apply, prove, tell.
It must not know how anything is made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pifleet.cli.call import Call, verb

if TYPE_CHECKING:
    from pifleet.report import Outcome


@verb(positional=True, asks=True)
@click.option("--interrupt", is_flag=True, help="Also do what ends a running agent.")
@click.option("--discard", multiple=True, metavar="NAME", help="Replace this one although its work is not home.")
@click.option("--verify", "proof", type=click.Choice(["changed", "all"]), default="changed", show_default=True,
              help="Which sandboxes to prove from inside afterwards.")
@click.option("--keep-run", is_flag=True, help="Keep the private folder of the Ansible run.")
def command(call: Call, interrupt: bool, discard: tuple[str, ...], proof: str, keep_run: bool) -> int:
    """Make the fleet as the inventory says; a second run changes nothing.

    Looks, shows the plan, applies it and looks again. Asks only before steps that end something that runs; where an
    agent is at work such a step is left out unless --interrupt is given. A sandbox is replaced only when all of its
    work is home, and is proven to hold it again.
    """
    from pifleet.cli.ask import confirm
    from pifleet.cli.home import show_pulls
    from pifleet.cli.tables import show_outcomes, show_plan
    from pifleet.look import look
    from pifleet.plan import ENDING
    from pifleet.provision import apply
    from pifleet.report import document, exit_code

    started = time.monotonic()
    fleet, output = call.fleet, call.output
    discard = tuple(call.sandbox(name).title for name in discard)
    with output.progress() as emit:
        found = look(fleet, call.selection, emit)
    if found.plan.steps:
        show_plan(output, found, every_step=call.verbose)
    ending = [step for step in found.plan.steps if step.destructive and (interrupt or step.action not in ENDING)]
    if ending:
        confirm(f"{len(ending)} of these steps end something that runs", yes=call.yes)
    with output.progress() as emit:
        done = apply(found, emit, interrupt=interrupt, keep_run=keep_run, discard=discard)
    if done.pulls:
        show_pulls(output, done.pulls)
    outcomes = _proved(call, done.outcomes, everything=proof == "all")
    show_outcomes(output, fleet, outcomes, time.monotonic() - started)
    told = document("provision", outcomes=[outcome.as_json() for outcome in outcomes],
                    pulls=[one.as_json() for one in done.pulls])
    output.document({**found.plan.as_json(), **told})
    return exit_code(outcomes)


def _proved(call: Call, outcomes: Sequence[Outcome], *, everything: bool) -> list[Outcome]:
    """The outcomes, where a sandbox that was changed has failed when it does not hold what it promises."""
    from pifleet.cli.act import each_of
    from pifleet.cli.tables import verified
    from pifleet.verify import verifier

    words = ("changed", "ok") if everything else ("changed",)
    at = {outcome.sandbox: outcome.host for outcome in outcomes if outcome.sandbox and outcome.result in words}
    boxes = [box for box in call.fleet.sandboxes if box.title in at]
    done = each_of(call, boxes, verifier(call.fleet), stage="verify", at=at) if boxes else []
    broken = {did.box.title: verified(did) for did in done}
    broken = {title: outcome for title, outcome in broken.items() if not outcome.good}
    return [broken.get(outcome.sandbox, outcome) for outcome in outcomes]
