"""Owns the verb usage.
It must not count anything itself."""

from __future__ import annotations

from pifleet.cli.act import some
from pifleet.cli.call import Call, verb
from pifleet.output import Row
from pifleet.phrases import count, size
from pifleet.report import document, exit_code, merge, names_of


@verb()
@some
def command(call: Call, names: tuple[str, ...]) -> int:
    """Show how much each developer used models, by day.

    Days are in UTC. Requests and bytes are what the hosts' gateways counted. Tokens are what pi's session logs say:
    that is the sandboxes' own word. Exits 1 when something could not be asked.
    """
    from pifleet.usage import usage

    boxes = call.sandboxes(names)
    with call.output.progress() as emit:
        found = usage(call.fleet, boxes, call.selection, emit)
    for row in found.rows:
        failed = f", {row.failed} failed" if row.failed else ""
        said = row.tokens or {}
        tokens = ", ".join(f"{number} {word.replace('_', ' ')}" for word, number in said.items() if number)
        call.output.table([Row((
            row.day, row.developer, count(row.requests, "request") + failed,
            f"{size(row.received)} out, {size(row.sent)} back", f"tokens as it says: {tokens}" if tokens else "",
        ))])
    if not found.rows:
        call.output.say("no model has been used yet")
    call.output.errors(merge((names_of(name), trouble) for name, trouble in found.troubles))
    call.output.document(document("usage", usage=[row.as_json() for row in found.rows]))
    return exit_code(failed=bool(found.troubles))
