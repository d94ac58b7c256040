"""Owns how pulls read, for all verbs that bring work home.
It must not know how a pull works."""

from __future__ import annotations

from collections.abc import Sequence

from pifleet.cli.call import near
from pifleet.output import Output, Row, mark
from pifleet.phrases import seconds, size
from pifleet.report import merge, names_of
from pifleet.results import Pull

ITEMS_SHOWN = 10


def show_pulls(output: Output, pulls: Sequence[Pull]) -> None:
    """A row for each pull, what of a sandbox is not at home, what of a person stayed, and each error once."""
    output.table([_row(one) for one in pulls])
    for one in pulls:
        for title, items, all_ in (("not at home", one.incomplete, "see receipt.json"),
                                   ("only in the store", one.refused, "see receipt.json"),
                                   ("both kept", one.both_kept, "see -o json")):
            for item in items[:ITEMS_SHOWN]:
                output.say(f"  {one.sandbox}  {title}: {item.path}  {item.reason}")
            if len(items) > ITEMS_SHOWN:
                output.say(f"  {one.sandbox}  {title}: {len(items) - ITEMS_SHOWN} more, {all_}")
    output.errors(merge((names_of(one.sandbox), one.trouble) for one in pulls if one.trouble))


def failed(pulls: Sequence[Pull]) -> bool:
    """Whether something of some sandbox is not at home, or not in its plain folder."""
    return any(not one.complete or one.trouble for one in pulls)


def _row(one: Pull) -> Row:
    known = f"generation {one.generation}" if one.generation else ""
    where = f"{known} in {near(one.path)}" if one.path and one.result != "unchanged" else known
    repos = ", ".join(f"{repo.name} {repo.head[:8] or 'no commit'}" for repo in one.repos)
    text = "; ".join(filter(None, (where, repos)))
    took = one.trouble.headline if one.trouble else f"{size(one.bytes)}, {seconds(one.seconds)}"
    return Row((mark(one.result), one.sandbox, text, took), quiet=one.result == "unchanged")
