"""Owns the verb results diff.
It must not compare anything itself."""

from __future__ import annotations

import click

from pifleet.cli.call import Call, verb
from pifleet.cli.results.items import heading
from pifleet.cli.results.raw import emit
from pifleet.cli.results.which import Place, Places
from pifleet.errors import BadInput
from pifleet.output import Mark, Output, Row
from pifleet.phrases import count
from pifleet.report import document
from pifleet.results import Branch, Chosen, UnitChange, compare, list_generations, patch

_COMMITS, _FILES = 10, 50
_SIGNS = {"added": Mark("added", "+", "green"), "removed": Mark("removed", "-", "red"),
          "changed": Mark("changed", "~", "yellow")}
_NUMBER = click.IntRange(min=1)


@verb()
@click.argument("name", metavar="DEV[/REPO[/PATH]]")
@click.argument("before", metavar="[A]", required=False, type=_NUMBER)
@click.argument("after", metavar="[B]", required=False, type=_NUMBER)
@click.option("-p", "--patch", "as_patch", is_flag=True, help="Text files line by line, for people or git apply.")
def command(call: Call, name: str, before: int | None, after: int | None, as_patch: bool) -> int:
    """Show what changed between two generations.

    From generation A to B; B is the newest and A the one before it where they are not named. With --patch, binary
    files and those of more than 1 MiB are only named.
    """
    if as_patch and call.output.json:
        raise BadInput("a patch is no document", try_="pifleet results diff without --patch, or without -o json")
    place = Places(call).one(name)
    old, new = _pair(place, before, after)
    if as_patch:
        emit(patch(old, new, place.part))
        return 0
    changes = compare(old, new, place.part)
    call.output.say(f"{heading(old)}, to generation {new.number}")
    for one in changes:
        _show(call.output, one)
    if not changes:
        call.output.say("nothing changed")
    call.output.document(document("results.diff", sandbox=new.title, before=old.number, after=new.number,
                                  units=[one.as_json() for one in changes]))
    return 0


def _pair(place: Place, before: int | None, after: int | None) -> tuple[Chosen, Chosen]:
    new = place.choose(after)
    if before is None:
        earlier = [one.number for one in list_generations(place.results, place.id) if one.number < new.number]
        if not earlier:
            raise BadInput(f"{new.title} has no generation before {new.number}",
                           try_=f"pifleet results show {new.title}")
        before = earlier[-1]
    return place.choose(before), new


def _show(output: Output, one: UnitChange) -> None:
    output.say(one.name, *([_SIGNS[one.what]] if one.what != "changed" else []))
    for branch in one.branches:
        output.say(f"  {branch.name}: {_moved(branch)}")
        for oid, subject in branch.commits[:_COMMITS]:
            output.say(f"    {oid[:8]} {subject}")
        if branch.added > _COMMITS:
            output.say(f"    {branch.added - _COMMITS} more")
    output.table([Row((_SIGNS[file.what], file.path)) for file in one.files[:_FILES]])
    if len(one.files) > _FILES:
        output.say(f"  {len(one.files) - _FILES} more files, see -o json")


def _moved(branch: Branch) -> str:
    if not branch.after:
        return f"gone, was {branch.before[:8]}"
    facts = [f"{branch.before[:8]} to {branch.after[:8]}" if branch.before else f"new at {branch.after[:8]}"]
    facts += [count(branch.added, "new commit")] if branch.added else []
    facts += [f"rewritten, {count(branch.dropped, 'commit')} dropped"] if branch.dropped else []
    return ", ".join(facts)
