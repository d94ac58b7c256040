"""Owns the receipt of a generation: what was there, what landed, what did not and why, and whether that is everything.
It must not know how anything was sent or stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pifleet.results.capture.terms import WAIVED
from pifleet.results.names import shown
from pifleet.results.outcome import Item, RepoResult
from pifleet.results.plain.plan import Kept
from pifleet.results.units import Unit

SCHEMA = "pifleet.receipt/1"
NONE: dict[str, Any] = {"units": [], "gone": [], "missing": []}
_LISTED = 1000


def absent(repos: Iterable[str], units: Iterable[Unit], last: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(gone, missing): expected repositories that are not there, by whether the last receipt says home has them."""
    there = {unit.path for unit in units}
    kept = {unit["path"] for unit in last["units"]} | set(last["gone"])
    lacking = [name for name in repos if name.encode() not in there]
    return [name for name in lacking if name in kept], [name for name in lacking if name not in kept]


def _incomplete(units: Iterable[Unit], missing: Iterable[str]) -> list[Item]:
    items = [Item(name, "repo.missing") for name in missing]
    for unit in units:
        inside = shown(unit.path)
        items += [Item(f"{inside}/{shown(path)}", reason) for path, reason, _ in unit.notes if reason not in WAIVED]
        if unit.facts["more"]:
            items.append(Item(f"{inside}: {unit.facts['more']} more", "unlisted"))
    return items


def make(sandbox: str, sandbox_id: str, number: int, units: list[Unit], *, gone: list[str], missing: list[str],
         kept: list[Kept], places: Mapping[bytes, bytes], received: int) -> dict[str, Any]:
    """The receipt as a value. It is complete when nothing that was in the sandbox is only there."""
    lacking = _incomplete(units, missing)
    return {
        "schema": SCHEMA, "sandbox": sandbox, "sandbox_id": sandbox_id, "generation": number,
        "created": datetime.now(UTC).isoformat(timespec="seconds"), "complete": not lacking,
        "incomplete": [vars(item) for item in lacking], "gone": gone, "missing": missing,
        "not_written": [vars(item) for item in kept[:_LISTED]], "not_written_count": len(kept), "bytes": received,
        "units": [unit.as_json() | {"folder": shown(places[unit.path])} for unit in units],
    }


def stored(told: Mapping[str, Any]) -> bytes:
    """The bytes whose sha256 the generation's commit vouches for."""
    return json.dumps(told, indent=1).encode() + b"\n"


def units_of(told: Mapping[str, Any]) -> list[Unit]:
    return [Unit.from_json({name: unit[name] for name in unit if name != "folder"}) for unit in told["units"]]


def repos_of(told: Mapping[str, Any]) -> tuple[RepoResult, ...]:
    return tuple(RepoResult(shown(unit.path), unit.facts["head"], unit.facts["snapshot"], unit.facts["files"])
                 for unit in units_of(told) if unit.kind == "repo")


def items_of(listed: Iterable[Mapping[str, str]]) -> tuple[Item, ...]:
    return tuple(Item(item["path"], item["reason"]) for item in listed)
