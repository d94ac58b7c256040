"""Owns the verb verify.
It must not know what is verified."""

from __future__ import annotations

from pifleet.cli.act import each_of, some
from pifleet.cli.call import Call, verb
from pifleet.cli.tables import show_checks, verified
from pifleet.report import document, exit_code, merge_outcomes
from pifleet.verify import verifier


@verb()
@some
def command(call: Call, names: tuple[str, ...]) -> int:
    """Prove sandboxes from inside, at no model cost.

    Closed as promised, parts whole, pi answering; of all sandboxes when none is named. Changes nothing inside.
    """
    done = each_of(call, call.sandboxes(names), verifier(call.fleet), stage="verify")
    show_checks(call.output, [check for did in done for check in did.value or ()])
    outcomes = [verified(did) for did in done]
    call.output.errors(merge_outcomes(outcome for did, outcome in zip(done, outcomes, strict=True) if did.error))
    call.output.document(document("verify", sandboxes=[
        {**outcome.as_json(), "checks": [check.as_json() for check in did.value or ()]}
        for did, outcome in zip(done, outcomes, strict=True)
    ]))
    return exit_code(outcomes)
