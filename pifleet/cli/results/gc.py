"""Owns the verb results gc.
It must not delete anything itself, nor before the question is answered."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pifleet.cli.ask import confirm
from pifleet.cli.call import Call, verb
from pifleet.cli.results.items import when
from pifleet.cli.results.which import Place, Places
from pifleet.errors import PifleetError
from pifleet.output import Output, Row, mark
from pifleet.phrases import count, listed, size
from pifleet.report import document, exit_code
from pifleet.results import Rule, aged, forget

_FEW = click.IntRange(min=0)


@verb(asks=True)
@click.argument("sandboxes", metavar="[DEV]...", nargs=-1)
@click.option("--keep-last", type=_FEW, default=Rule.last, show_default=True, metavar="K", help="The newest K stay.")
@click.option("--keep-daily", type=_FEW, default=Rule.daily, show_default=True, metavar="D",
              help="The newest of each of the last D days stays.")
@click.option("--dry-run", is_flag=True, help="Only list what would go.")
def command(call: Call, sandboxes: tuple[str, ...], keep_last: int, keep_daily: int, dry_run: bool) -> int:
    """Let old generations go; never the newest complete one.

    Nor the newest of all. What goes is listed, then asked for; what only it held is deleted for good.
    """
    rule, today = Rule(keep_last, keep_daily), datetime.now(UTC).date()
    going: list[tuple[Place, list[int]]] = []
    for place in Places(call).all(sandboxes):
        found = aged(place.results, place.id, place.title, rule, today)
        old = [one for one, keep in found if not keep]
        if old:
            call.output.table([Row((mark("remove"), f"{place.title} {one.number}", when(one.created))) for one in old])
            call.output.say(f"{place.title}: {len(old)} of {count(len(found), 'generation')} to go")
            going.append((place, [one.number for one in old]))
    number = sum(len(numbers) for _, numbers in going)
    if not going:
        call.output.say("nothing to let go")
    if going and not dry_run:
        names = listed(tuple(place.title for place, _ in going))
        confirm(f"This deletes {count(number, 'generation')} of {names} for good", yes=call.yes, typed=str(number))
    told = [_forget(call.output, place, numbers, dry_run=dry_run) for place, numbers in going]
    call.output.document(document("results.gc", dry_run=dry_run, sandboxes=told))
    return exit_code(failed=any(one["error"] for one in told))


def _forget(output: Output, place: Place, numbers: list[int], *, dry_run: bool) -> dict[str, object]:
    """One sandbox's, as an element of the document; `freed` counts bytes."""
    told: dict[str, object] = {"sandbox": place.title, "generations": numbers, "freed": 0, "error": None}
    if dry_run:
        return told
    try:
        freed = forget(place.results, place.id, place.title, numbers)
    except PifleetError as error:
        output.error(error)
        return told | {"error": error.trouble.as_json()}
    output.say(mark("ok"), f"{place.title}: {count(len(numbers), 'generation')} gone, {size(max(0, freed))} freed")
    return told | {"freed": freed}
