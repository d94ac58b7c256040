"""Owns the verb put.
It must not write anything itself."""

from __future__ import annotations

from pathlib import Path

import click

from pifleet.cli.act import opened
from pifleet.cli.call import Call, verb
from pifleet.phrases import count, size
from pifleet.report import document
from pifleet.sandbox.upload import entries_of
from pifleet.sandbox.upload import put as upload


@verb()
@click.argument("name", metavar="DEV")
@click.argument("local", type=click.Path(path_type=Path))
@click.argument("dest", default="")
@click.option("--force", is_flag=True, help="Write over existing files.")
def command(call: Call, name: str, local: Path, dest: str, force: bool) -> int:
    """Upload files into a sandbox; never over existing ones without --force.

    LOCAL is a file or a folder; it gets the same name in the folder DEST, which is made when it is missing and is
    relative to the workspace. Links are sent as links.
    """
    entries = entries_of(local)
    with opened(call, name) as (driver, box, _):
        folder = upload(driver, box, entries, dest, force=force)
    files, total = sum(entry.kind != "dir" for entry in entries), sum(entry.size for entry in entries)
    call.output.say(f"{box.title}: {count(files, 'file')}, {size(total)}, written to {folder}")
    call.output.document(document("put", sandbox=box.title, dest=folder, files=files, bytes=total))
    return 0
