"""Owns the verb status.
It must not look at anything itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pifleet.cli.act import some
from pifleet.cli.call import Call, verb
from pifleet.output import Row, mark
from pifleet.phrases import count, seconds, size
from pifleet.report import document, exit_code, merge, names_of


@verb()
@some
def command(call: Call, names: tuple[str, ...]) -> int:
    """Show hosts and sandboxes as they really are.

    State, repositories with work that is not home, disk used, last pull and last activity; of all sandboxes when none
    is named. Exits 1 when something could not be looked at.
    """
    from pifleet.status import status

    boxes = call.sandboxes(names)
    with call.output.progress() as emit:
        found = status(call.fleet, boxes, call.selection, emit)
    call.output.say("hosts")
    call.output.table([_host(row) for row in found.hosts])
    call.output.say("sandboxes")
    call.output.table([_sandbox(row) for row in found.sandboxes])
    call.output.errors(merge((names_of(name), trouble) for name, trouble in found.troubles))
    call.output.document(document("status", hosts=list(found.hosts), sandboxes=list(found.sandboxes)))
    return exit_code(failed=bool(found.troubles))


def _host(row: Mapping[str, Any]) -> Row:
    state = mark("ok" if row["reachable"] else "unreachable")
    quiet = row["reachable"] and not row["drift"]
    return Row(("", state, row["name"], ", ".join(row["roles"]), _drift(row)), quiet=quiet)


def _sandbox(row: Mapping[str, Any]) -> Row:
    unsaved = [repo["name"] for repo in row["repos"] if repo["unsaved"] is True]
    unknown = [repo["name"] for repo in row["repos"] if repo["unsaved"] == "unknown"]
    facts = [
        f"unsaved work in {', '.join(unsaved)}" if unsaved else "",
        f"unknown: {', '.join(unknown)}" if unknown else "",
        size(row["disk"]) if row["disk"] is not None else "",
        f"pulled {_ago(row['last_pull'])}" if row["last_pull"] else "never pulled",
        f"active {_ago(row['last_activity'])}" if row["last_activity"] else "",
        _drift(row),
    ]
    where = f"{row['pattern']} @ {row['host'] or '?'}"
    quiet = row["state"] == "running" and not unsaved and not row["drift"]
    return Row(("", mark(row["state"]), row["sandbox"], where, ", ".join(filter(None, facts))), quiet=quiet)


def _drift(row: Mapping[str, Any]) -> str:
    return f"{count(row['drift'], 'difference')}: pifleet plan" if row["drift"] else ""


def _ago(moment: str) -> str:
    return f"{seconds(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()))} ago"
