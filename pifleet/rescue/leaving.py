"""Owns remembering, beside the results, which sandboxes only have to go, since a successor holds all that they held.
It must not remove anything itself. A run that is cut off leaves its notes, and the next one ends what they name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pifleet.fleet import Fleet, Sandbox


def note(fleet: Fleet, old: Sandbox) -> None:
    """Remember that all of a sandbox, which is where it says, is in its successor."""
    path = _path(fleet, old)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new-leaving")
    new.write_text(json.dumps({"host": old.host, "pattern": old.pattern}), encoding="ascii")
    new.rename(path)


def noted(fleet: Fleet) -> list[Sandbox]:
    """The sandboxes of the fleet of which something may be left although a successor has everything, as they were."""
    found = []
    for box in fleet.sandboxes:
        try:
            said = json.loads(_path(fleet, box).read_text(encoding="ascii"))
            found.append(replace(box, host=str(said["host"]), pattern=str(said["pattern"])))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
    return found


def forget(fleet: Fleet, old: Sandbox) -> None:
    """It is gone, or it is wanted again."""
    _path(fleet, old).unlink(missing_ok=True)


def _path(fleet: Fleet, box: Sandbox) -> Path:
    return Path(fleet.results, ".store", box.id + ".leaving")
