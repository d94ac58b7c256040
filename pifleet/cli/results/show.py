"""Owns the verb results show.
It must not judge what it shows."""

from __future__ import annotations

from functools import partial

import click

from pifleet.cli.call import Call, verb
from pifleet.cli.results.items import heading, say_items
from pifleet.cli.results.raw import emit
from pifleet.cli.results.which import Places, numbered
from pifleet.output import Output, Row, mark
from pifleet.phrases import count, size
from pifleet.report import document
from pifleet.results import Chosen, Entry, Item, UnitView, listing, one_file, overview

_LINE = 1 << 16


@verb()
@click.argument("name", metavar="DEV[/REPO[/PATH]]")
@numbered
def command(call: Call, name: str, generation: int | None) -> int:
    """Show what a generation holds, or print one of its files.

    Of a REPO or a folder the files are listed; a file is printed as it is, and on a terminal with everything escaped
    that could act on it. -o json lists a file instead of printing it.
    """
    place = Places(call).one(name)
    chosen = place.choose(generation)
    if not place.part:
        _show_all(call.output, chosen)
        return 0
    if not call.output.json and (file := one_file(chosen, place.part)):
        with file:
            emit(iter(partial(file.readline, _LINE), b""))
        return 0
    _show_files(call.output, chosen, place.part)
    return 0


def _show_all(output: Output, chosen: Chosen) -> None:
    told, units = chosen.told, overview(chosen)
    output.say(heading(chosen), mark("complete" if told["complete"] else "partial"))
    output.table([_row(unit) for unit in units])
    for unit in units:
        say_items(output, "artifact", [Item(f"{unit.name}/{path}", "") for path in unit.artifacts])
    say_items(output, "not at home", [Item(**item) for item in told["incomplete"]])
    say_items(output, "only in the store", [Item(**item) for item in told["not_written"]])
    output.document(document("results.show", generation=chosen.number, receipt=told))


def _row(unit: UnitView) -> Row:
    if unit.kind == "tree":
        return Row((unit.name, "files", f"{count(unit.files, 'file')}, {size(unit.bytes)}"))
    head = f"{unit.branch or 'detached'} {unit.head[:8] or 'no commit'}"
    facts = [count(unit.files, "file"), size(unit.bytes), count(unit.branches, "branch", "branches")]
    facts += [count(unit.tags, "tag")] if unit.tags else []
    facts += [count(unit.stashes, "stash", "stashes")] if unit.stashes else []
    facts += ["staged changes"] if unit.staged else []
    facts += [f"{unit.operation} in progress"] if unit.operation else []
    return Row((unit.name, head, ", ".join(facts)))


def _show_files(output: Output, chosen: Chosen, part: str) -> None:
    files = listing(chosen, part)
    output.table([Row((entry.name, _kind(entry), size(entry.bytes))) for entry in files])
    output.say(f"{heading(chosen)}: {count(len(files), 'file')}, {size(sum(entry.bytes for entry in files))}")
    output.document(document("results.files", sandbox=chosen.title, generation=chosen.number,
                             files=[vars(entry) for entry in files]))


def _kind(entry: Entry) -> str:
    return "" if entry.kind == "file" else entry.kind
