"""Owns the verb doctor.
It must not know any check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pifleet.cli.call import Call, verb

if TYPE_CHECKING:
    from pifleet.doctor import Check
    from pifleet.output import Output


@verb(positional=True)
def command(call: Call) -> int:
    """Check this machine and every host; change nothing.

    One line a check and, under one that did not pass, the next command to type.
    """
    from pifleet import doctor
    from pifleet.errors import BadInput
    from pifleet.report import BAD_INPUT, document, error_document, exit_code

    checks = list(doctor.controller_checks())
    try:
        fleet = call.fleet
    except BadInput as error:
        checks.append(doctor.Check(doctor.CONTROLLER, "inventory", "fail", error.trouble.headline))
        _show(call.output, checks)
        call.output.error(error)
        told = error_document(error)
        call.output.document({**told, **document("doctor", checks=[check.as_json() for check in checks])})
        return BAD_INPUT
    checks += [doctor.summary(fleet), *doctor.fleet_checks(fleet)]
    with call.output.progress() as emit:
        checks += doctor.host_checks(fleet, call.selection, emit)
    _show(call.output, checks)
    call.output.document(document("doctor", checks=[check.as_json() for check in checks]))
    return exit_code(failed=any(check.verdict == "fail" for check in checks))


def _show(output: Output, checks: list[Check]) -> None:
    from pifleet.output import Row, mark
    from pifleet.phrases import count

    for check in checks:
        output.table([Row((mark(check.verdict), f"{check.place:10}", f"{check.name:15}", check.text))])
        if check.saw:
            output.say(f"        saw  {check.saw}")
        if check.try_:
            output.say(f"        try  {check.try_}")
    failed = sum(check.verdict == "fail" for check in checks)
    warned = sum(check.verdict == "warn" for check in checks)
    output.say(f"{count(len(checks), 'check')}, {failed} failed, {count(warned, 'warning')}")
