"""Owns the verb results apply.
It must not touch the clone itself."""

from __future__ import annotations

from pathlib import Path

import click

from pifleet.cli.call import Call, verb
from pifleet.cli.results.items import say_items
from pifleet.cli.results.which import Places, numbered
from pifleet.errors import BadInput
from pifleet.output import mark
from pifleet.report import document
from pifleet.results import apply


@verb()
@click.argument("name", metavar="DEV/REPO")
@click.option("--to", required=True, type=click.Path(path_type=Path), metavar="CLONE", help="Your clone's top folder.")
@click.option("--branch", default="", metavar="NAME", help="Instead of pifleet/DEV-SANDBOX/N.")
@numbered
def command(call: Call, name: str, to: Path, branch: str, generation: int | None) -> int:
    """Bring commits and work into a clone of yours, as a new branch.

    The branch is the sandbox's HEAD and, where the sandbox had uncommitted or untracked files, one commit more that
    has them. Nothing is checked out. Refused where the clone has uncommitted changes or commits that the sandbox had
    not.
    """
    place = Places(call).one(name)
    chosen = place.choose(generation)
    if not place.part:
        repos = [unit["path"] for unit in chosen.told["units"] if unit["kind"] == "repo"]
        raise BadInput("name a repository", try_=f"pifleet results apply {name}/{(*repos, 'REPO')[0]} --to CLONE")
    done = apply(chosen, place.part, to.absolute(), branch)
    call.output.say(mark("created" if done.new else "unchanged"), f"branch {done.branch} at {done.tip[:8]}")
    if done.tip != done.head:
        call.output.say(f"  its last commit is the uncommitted work on top of {done.head[:8] or 'no commit'}")
    if done.operation:
        call.output.say(f"  a {done.operation} was in progress in the sandbox; its state is not applied")
    say_items(call.output, "left out", done.left_out)
    call.output.document(document("results.apply", sandbox=chosen.title, generation=chosen.number, **done.as_json()))
    return 0
