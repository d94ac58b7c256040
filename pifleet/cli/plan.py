"""Owns the verb plan.
It must not change anything anywhere."""

from __future__ import annotations

from pifleet.cli.call import Call, verb


@verb(positional=True)
def command(call: Call) -> int:
    """Look at every host and print what provision would change.

    Exits 0 when there is nothing to change, 3 when there is, 1 when a host or sandbox could not be observed, or cannot
    carry what it should.
    """
    from pifleet.cli.tables import show_plan
    from pifleet.look import look
    from pifleet.report import exit_code

    fleet = call.fleet
    with call.output.progress() as emit:
        found = look(fleet, call.selection, emit)
    show_plan(call.output, found, every_step=call.verbose)
    call.output.document(found.plan.as_json())
    plan = found.plan
    return exit_code(failed=bool(plan.unreachable or plan.unfit or plan.blocked), pending=bool(plan.steps))
