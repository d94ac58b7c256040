"""Owns what status says of hosts and sandboxes: one look, one question into each running sandbox, and the last pull.
It must not change anything; what a sandbox says of itself is shown and never relied on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pifleet.errors import PifleetError, Trouble
from pifleet.events import Emit, silent
from pifleet.fleet import Fleet, Sandbox
from pifleet.look import Look, look
from pifleet.operate import Say, each
from pifleet.patterns import pattern, seen_box
from pifleet.results import Generation, list_generations
from pifleet.sandbox import HOME, WORKSPACE, Driver, driver_for
from pifleet.sandbox.inside import ask
from pifleet.selection import Selection

INSIDE_SECONDS = 30
UNKNOWN = "unknown"
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Status:
    """What was found, as the rows of design: `hosts` and `sandboxes` as JSON, and what could not be looked at."""

    hosts: Sequence[Json]
    sandboxes: Sequence[Json]
    troubles: Sequence[tuple[str, Trouble]]


def status(fleet: Fleet, boxes: Sequence[Sandbox], selection: Selection, emit: Emit = silent) -> Status:
    """Look at every host and ask every running sandbox of `boxes`; nothing is raised for either."""
    found = look(fleet, selection, emit, keys=False)
    at = {box.title: found.placement.troubles.get(box.title) or found.placement.host_of[box.title] for box in boxes}
    running = [box for box in boxes if _state(found, box, at[box.title])[0] == "running"]
    asked = each(fleet, running, _ask, emit, stage="ask", selection=selection, at=at)
    said = {did.box.title: did.value or {} for did in asked}
    here = [box for box in boxes if isinstance(at[box.title], Trouble) or selection.has_host(str(at[box.title]))]
    rows = [_sandbox(fleet, found, box, at[box.title], said.get(box.title, {})) for box in here]
    troubles = [*found.plan.unreachable, *((did.box.title, did.error) for did in asked if did.error)]
    troubles += [(box.title, where) for box in here if isinstance(where := at[box.title], Trouble)]
    return Status(_hosts(fleet, found, selection), rows, troubles)


def _ask(driver: Driver, box: Sandbox, _: Say) -> Json:
    request = {"workspace": WORKSPACE, "home": HOME, "repos": box.repos}
    return next(ask(driver, box, "status", request, silence=INSIDE_SECONDS), {})


def _hosts(fleet: Fleet, found: Look, selection: Selection) -> list[Json]:
    return [
        {"name": name, "reachable": name in found.seen, "roles": sorted(host.patterns),
         "drift": sum(not step.sandbox for step in found.plan.of(name))}
        for name, host in fleet.hosts.items() if host.patterns and selection.has_host(name)
    ]


def _state(found: Look, box: Sandbox, home: str | Trouble) -> tuple[str, str | None]:
    """The state of a sandbox and the image it runs."""
    if isinstance(home, Trouble) or home not in found.seen:
        return UNKNOWN, None
    parts = pattern(box.pattern).parts(found.fleet.hosts[home])
    if "docker" in parts and not found.seen[home].data["engine"].get("answers"):
        return UNKNOWN, None
    seen = seen_box(found.seen[home].data, box)
    return driver_for(box.pattern).seen(seen) if seen else ("missing", None)


def _sandbox(fleet: Fleet, found: Look, box: Sandbox, home: str | Trouble, said: Json) -> Json:
    host = home if isinstance(home, str) else ""
    active = found.seen[host].data["activity"].get(box.title) if host in found.seen else None
    state, image = _state(found, box, home)
    pulled = _last_pull(fleet, box)
    inside = said.get("repos") if isinstance(said.get("repos"), dict) else {}
    assert isinstance(inside, dict)
    return {
        "sandbox": box.title, "id": box.id, "developer": box.developer, "name": box.name, "host": host or None,
        "pattern": box.pattern, "state": state, "image": image,
        "limits": {"cpus": box.limits.cpus, "memory": box.limits.memory, "pids": box.limits.pids},
        "disk": said.get("disk") if isinstance(said.get("disk"), int) else None,
        "repos": [_repo(name, inside.get(name), pulled) for name in box.repos],
        "last_pull": pulled.created if pulled else None, "last_activity": _when(active),
        "drift": sum(step.sandbox == box.title for step in found.plan.steps),
    }


def _repo(name: str, said: object, pulled: Generation | None) -> Json:
    if not isinstance(said, dict):
        return {"name": name, "head": None, "branch": None, "unsaved": UNKNOWN}
    head, branch = (str(said.get(key) or "") or None for key in ("head", "branch"))
    return {"name": name, "head": head, "branch": branch, "unsaved": _unsaved(name, head, said, pulled)}


def _unsaved(name: str, head: str | None, said: Json, pulled: Generation | None) -> bool:
    """Whether there is work that neither the origin nor the last pull holds. Ages, not times: clocks differ."""
    if not (said.get("dirty") or said.get("ahead")):
        return False
    if not pulled or head not in [repo.head for repo in pulled.repos if repo.name == name]:
        return True
    age = said.get("age")
    since = (datetime.now(UTC) - datetime.fromisoformat(pulled.created)).total_seconds()
    return not isinstance(age, int | float) or age <= since


def _last_pull(fleet: Fleet, box: Sandbox) -> Generation | None:
    try:
        return next(iter(list_generations(Path(fleet.results), box.id)[::-1]), None)
    except PifleetError:
        return None


def _when(age: object) -> str | None:
    """An age in seconds as the time here."""
    if not isinstance(age, int | float):
        return None
    return (datetime.now(UTC) - timedelta(seconds=age)).isoformat(timespec="seconds")
