"""Owns the verb results list.
It must not reach a host."""

from __future__ import annotations

import click

from pifleet.cli.call import Call, near, verb
from pifleet.cli.results.items import when
from pifleet.cli.results.which import Places
from pifleet.output import Row, mark
from pifleet.report import document
from pifleet.results import Generation, list_generations


@verb()
@click.argument("sandboxes", metavar="[DEV]...", nargs=-1)
def command(call: Call, sandboxes: tuple[str, ...]) -> int:
    """List the generations that earlier pulls brought home."""
    found = [made for place in Places(call).all(sandboxes) for made in list_generations(place.results, place.id)]
    call.output.table([_row(made) for made in found])
    if not found:
        call.output.say("nothing has been pulled yet")
    call.output.document(document("results", generations=[made.as_json() for made in found]))
    return 0


def _row(made: Generation) -> Row:
    repos = ", ".join(f"{repo.name} {repo.head[:8] or 'no commit'}" for repo in made.repos) or "no repository"
    state = mark("complete" if made.complete else "partial")
    title = f"{made.sandbox} {made.number}"
    return Row((state, title, when(made.created), repos, near(made.path) if made.path else "in the store"))

