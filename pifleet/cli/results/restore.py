"""Owns the verb results restore.
It must not write anything itself."""

from __future__ import annotations

from pathlib import Path

import click

from pifleet.cli.call import Call, near, verb
from pifleet.cli.results.items import say_items
from pifleet.cli.results.which import Places, numbered
from pifleet.phrases import count, size
from pifleet.report import document
from pifleet.results import restore


@verb()
@click.argument("name", metavar="DEV[/REPO[/PATH]]")
@click.option("--to", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="A new or empty folder.")
@numbered
def command(call: Call, name: str, to: Path, generation: int | None) -> int:
    """Write a generation, or a part of it, as plain files.

    Nothing is written over: FOLDER must be new or empty. A single file may go into a folder that exists, or get the
    name that --to says.
    """
    place = Places(call).one(name)
    chosen = place.choose(generation)
    done = restore(chosen, place.part, to)
    files = f"{count(done.files, 'file')}, {size(done.bytes)}"
    call.output.say(f"{chosen.title} generation {chosen.number}: {files}, written to {near(done.to)}")
    say_items(call.output, "left out", done.left_out)
    call.output.document(document(
        "results.restore", sandbox=chosen.title, generation=chosen.number, part=place.part, **done.as_json()))
    return 0
