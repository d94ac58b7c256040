"""Owns the verb doctor.
It must not know any check."""

from __future__ import annotations

from pifleet.cli.call import Call, verb


@verb(positional=True)
def command(call: Call) -> int:
    """Check this machine and every host; change nothing.

    One line a check and, under one that did not pass, the next command to type.
    """
    from pifleet import doctor
    from pifleet.cli.tables import show_checks
    from pifleet.errors import BadInput
    from pifleet.report import BAD_INPUT, Check, document, error_document, exit_code

    checks = list(doctor.controller_checks())
    try:
        fleet = call.fleet
    except BadInput as error:
        checks.append(Check(doctor.CONTROLLER, "inventory", "fail", error.trouble.headline))
        show_checks(call.output, checks)
        call.output.error(error)
        told = error_document(error)
        call.output.document({**told, **document("doctor", checks=[check.as_json() for check in checks])})
        return BAD_INPUT
    checks += [doctor.summary(fleet), *doctor.fleet_checks(fleet)]
    with call.output.progress() as emit:
        checks += doctor.host_checks(fleet, call.selection, emit)
    show_checks(call.output, checks)
    call.output.document(document("doctor", checks=[check.as_json() for check in checks]))
    return exit_code(failed=any(check.verdict == "fail" for check in checks))
