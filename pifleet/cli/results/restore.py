"""Owns the verb results restore.
It must not write anything itself, nor reach a host unless a sandbox is where the generation goes."""

from __future__ import annotations

from pathlib import Path

import click

from pifleet.cli.call import Call, near, verb
from pifleet.cli.results.items import say_items
from pifleet.cli.results.which import Places, numbered
from pifleet.errors import BadInput
from pifleet.phrases import count, size
from pifleet.report import document
from pifleet.results import restore


@verb()
@click.argument("name", metavar="DEV[/REPO[/PATH]]")
@click.option("--to", type=click.Path(path_type=Path), metavar="FOLDER", help="A new or empty folder.")
@click.option("--to-sandbox", metavar="DEV/SANDBOX", help="Instead, whole repositories into a sandbox.")
@click.option("--force", is_flag=True, help="With --to-sandbox: move aside what is in the way.")
@numbered
def command(call: Call, name: str, to: Path | None, to_sandbox: str | None, force: bool, generation: int | None) -> int:
    """Write a generation, or a part of it, as plain files.

    Nothing is written over: FOLDER must be new or empty. A single file may go into a folder that exists, or get the
    name that --to says.

    With --to-sandbox, repositories come back with commits, index, stashes and whatever was in progress, and session
    logs too. A fresh clone is built upon; what holds work of its own stays as it is and is refused, or with --force is
    moved aside. Configuration, hooks and remotes are not part of a generation.
    """
    if (to is None) == (to_sandbox is None):
        raise BadInput("say where to: a folder or a sandbox", try_=f"pifleet results restore {name} --to FOLDER")
    if force and to:
        raise BadInput("--force is for a sandbox; nothing is written over in a folder")
    place = Places(call).one(name)
    chosen = place.choose(generation)
    if to is None:
        from pifleet.cli.results.into import into_sandbox

        return into_sandbox(call, chosen, place.part, place.id, to_sandbox or "", force=force)
    done = restore(chosen, place.part, to)
    files = f"{count(done.files, 'file')}, {size(done.bytes)}"
    call.output.say(f"{chosen.title} generation {chosen.number}: {files}, written to {near(done.to)}")
    say_items(call.output, "left out", done.left_out)
    call.output.document(document(
        "results.restore", sandbox=chosen.title, generation=chosen.number, part=place.part, **done.as_json()))
    return 0
