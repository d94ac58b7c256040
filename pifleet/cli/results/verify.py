"""Owns the verb results verify.
It must not repair anything."""

from __future__ import annotations

from typing import Any

import click

from pifleet.cli.call import Call, verb
from pifleet.cli.results.items import say_items
from pifleet.cli.results.which import Place, Places
from pifleet.errors import BadInput, PifleetError
from pifleet.output import Output, Row, mark
from pifleet.phrases import count
from pifleet.report import document, exit_code
from pifleet.results import Proof, Verdict, verify


def _number(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    if value != "all" and not (value.isdecimal() and int(value)):
        raise click.BadParameter("say a number, or all")
    return None if value == "all" else int(value)


@verb()
@click.argument("sandboxes", metavar="[DEV]...", nargs=-1)
@click.option("-g", "--generation", default="all", callback=_number, metavar="N|all", help="Only one; all by default.")
def command(call: Call, sandboxes: tuple[str, ...], generation: int | None) -> int:
    """Prove that everything that came home is still whole.

    Receipts, refs and ids are compared and every byte is read and hashed again, of all sandboxes when none is named.
    Exits 1 when something is damaged.
    """
    if generation is not None and not sandboxes:
        raise BadInput("a generation of which sandbox?", try_=f"pifleet results verify DEV -g {generation}")
    told = [_look(call.output, place, generation) for place in Places(call).all(sandboxes)]
    if not any(one["generations"] for one in told):
        call.output.say("nothing has been pulled yet")
    call.output.document(document("results.verify", sandboxes=told))
    return exit_code(failed=any(one["damaged"] for one in told))


def _look(output: Output, place: Place, number: int | None) -> dict[str, Any]:
    """One sandbox, shown and as an element of the document."""
    try:
        found = verify(place.results, place.id, place.title, number, limits=place.limits)
    except BadInput:
        raise
    except PifleetError as error:
        output.error(error)
        return {"sandbox": place.title, "damaged": True, "generations": [], "files": [], "objects": 0,
                "error": error.trouble.as_json()}
    _show(output, place, found)
    return {"sandbox": place.title, "damaged": not found.good, "objects": found.objects,
            "generations": [one.as_json() for one in found.generations],
            "files": [vars(item) for item in found.files], "error": None}


def _show(output: Output, place: Place, found: Proof) -> None:
    output.table([_row(place.title, one) for one in found.generations])
    for one in found.generations:
        say_items(output, f"{place.title} {one.generation} damage", one.damage)
        say_items(output, f"{place.title} {one.generation} not at home", one.incomplete)
    say_items(output, f"{place.title} store", found.files)
    if found.generations:
        output.say(f"{place.title}: {count(found.objects, 'object')} read and hashed again")


def _row(title: str, one: Verdict) -> Row:
    state = mark("failed") if one.damage else mark(one.word)
    word = f"{count(len(one.damage), 'thing')} damaged" if one.damage else "whole"
    return Row((state, f"{title} {one.generation}", word))
