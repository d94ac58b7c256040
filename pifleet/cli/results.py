"""Owns the verb results and what is below it: earlier pulls, looked at offline.
It must not reach a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pifleet.cli.call import Call, near, verb

if TYPE_CHECKING:
    from pifleet.output import Row
    from pifleet.results import Generation


@click.group()
def command() -> None:
    """Look at earlier pulls, offline."""


@verb(name="list")
@click.argument("sandboxes", metavar="[DEV]...", nargs=-1)
def list_command(call: Call, sandboxes: tuple[str, ...]) -> int:
    """List the generations that earlier pulls brought home."""
    from pathlib import Path

    from pifleet.report import document
    from pifleet.results import list_generations

    store = Path(call.fleet.results)
    found = [made for box in call.sandboxes(sandboxes) for made in list_generations(store, box.id)]
    call.output.table([_row(made) for made in found])
    if not found:
        call.output.say("nothing has been pulled yet")
    call.output.document(document("results", generations=[made.as_json() for made in found]))
    return 0


def _row(made: Generation) -> Row:
    from pifleet.output import Row, mark

    repos = ", ".join(f"{repo.name} {repo.head[:8] or 'no commit'}" for repo in made.repos) or "no repository"
    state = mark("complete" if made.complete else "partial")
    when = f"{made.created[:10]} {made.created[11:16]} UTC"
    return Row((state, f"{made.sandbox} {made.number}", when, repos, near(made.path) if made.path else "in the store"))


command.add_command(list_command)
