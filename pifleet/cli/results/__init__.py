"""Owns the verb results: the list of what is below it.
It must not reach a host, nor import a verb before it is asked for."""

from __future__ import annotations

import click

from pifleet.cli.verbs import Verbs

VERBS = {
    "list": "List the generations that earlier pulls brought home.",
    "show": "Show what a generation holds, or print one of its files.",
    "diff": "Show what changed between two generations.",
    "restore": "Write a generation, or a part of it, as plain files.",
    "apply": "Bring commits and work into a clone of yours, as a new branch.",
    "verify": "Prove that everything that came home is still whole.",
    "gc": "Let old generations go; never the newest complete one.",
}


class Results(Verbs):
    """All verbs below results."""

    verbs, package = VERBS, "pifleet.cli.results"


@click.group(cls=Results)
def command() -> None:
    """Look at earlier pulls, offline.

    What a person means is named DEV[/SANDBOX][/REPO[/PATH]]; sessions and workspace are named like a REPO. No host
    is asked, so all of this works when a sandbox and its host are gone.
    """
