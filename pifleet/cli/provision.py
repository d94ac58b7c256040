"""Owns the verb provision: look, ask, apply, prove, tell.
It must not know how anything is made."""

from __future__ import annotations

import time

import click

from pifleet.cli.call import Call, verb


@verb(positional=True, asks=True)
@click.option("--interrupt", is_flag=True, help="Also do what ends a running agent.")
@click.option("--keep-run", is_flag=True, help="Keep the private folder of the Ansible run.")
def command(call: Call, interrupt: bool, keep_run: bool) -> int:
    """Make the fleet as the inventory says; a second run changes nothing.

    Looks, shows the plan, applies it and looks again. Asks only before steps that end something that runs; where an
    agent is at work such a step is left out unless --interrupt is given.
    """
    from pifleet.cli.ask import confirm
    from pifleet.cli.tables import show_outcomes, show_plan
    from pifleet.look import look
    from pifleet.provision import apply
    from pifleet.report import document, exit_code

    started = time.monotonic()
    fleet, output = call.fleet, call.output
    with output.progress() as emit:
        found = look(fleet, call.selection, emit)
    if found.plan.steps:
        show_plan(output, found, every_step=call.verbose)
    ending = [step for step in found.plan.steps if step.destructive and (interrupt or step.action != "replace")]
    if ending:
        confirm(f"{len(ending)} of these steps end something that runs", yes=call.yes)
    with output.progress() as emit:
        outcomes = apply(found, emit, interrupt=interrupt, keep_run=keep_run)
    show_outcomes(output, fleet, outcomes, time.monotonic() - started)
    rows = [outcome.as_json() for outcome in outcomes]
    output.document({**found.plan.as_json(), **document("provision", outcomes=rows)})
    return exit_code(outcomes)
