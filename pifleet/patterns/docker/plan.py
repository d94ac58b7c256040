"""Owns the difference between containers as they should be and as they were seen: steps, each with its why.
It must not reach an engine or know how a step is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pifleet.fleet import Sandbox
from pifleet.patterns.docker.desired import PART
from pifleet.plan import Json, Step, at_work, differ, repos

# What the engine can change in a running container (docs: Docker Engine API, "Update a container").
LIVE_FIELDS = frozenset({"cpus", "memory", "memory_swap", "pids", "restart"})


def compare(spec: Json, observed: Json) -> Iterator[Step | None]:
    """See `pifleet.patterns.Pattern`."""
    host = str(spec["host"])
    for box in spec["sandboxes"]:
        yield from _sandbox(host, spec["image"], box, observed)
    yield from _orphans(host, spec, observed)


def seen(observed: Json, box: Sandbox) -> Json | None:
    """See `pifleet.patterns.Pattern`."""
    found: Json | None = observed["containers"].get(box.container)
    return found


def titles(observed: Json, fleet: str) -> list[str]:
    """See `pifleet.patterns.Pattern`."""
    return [_title(name, container) for name, container in _of_fleet(observed, fleet)]


def cut(spec: Json, _: Json, steps: Sequence[Step]) -> dict[str, Any]:
    """See `pifleet.patterns.Pattern`."""
    named = {step.sandbox for step in steps}
    return {
        "sandboxes": [box for box in spec["sandboxes"] if box["title"] in named],
        "orphans": [step.sandbox for step in steps if step.action == "stop" and step.part == PART],
    }


def _of_fleet(observed: Json, fleet: str) -> Iterator[tuple[str, Json]]:
    """The containers of a fleet by name, in order."""
    for name, container in sorted(observed["containers"].items()):
        if container and container["spec"]["labels"].get("io.pifleet.fleet") == fleet:
            yield name, container


def _title(name: str, container: Json) -> str:
    return str(container["spec"]["labels"].get("io.pifleet.sandbox", name))


def _sandbox(host: str, image: Json, box: Json, observed: Json) -> Iterator[Step | None]:
    yield from repos(host, box, observed, PART)
    seen = observed["containers"].get(box["container"]["name"])
    image_id = (observed["images"].get(image["name"]) or {}).get("id")
    unseen = observed.get("unknown", {})
    reason = unseen.get("containers", unseen.get(f"containers/{box['container']['name']}", ""))
    yield _container(host, box, seen, image_id, reason)


def _container(host: str, box: Json, seen: Json | None, image_id: str | None, unseen: str) -> Step | None:
    wanted = {**box["container"], "image": image_id}
    if seen is None:
        after = {"image": box["container"]["image"]}
        why = f"cannot be seen: {unseen}" if unseen else "container is missing"
        return Step("sandbox", host, box["title"], "container", "create", why, PART, {}, after)
    differing = [key for key in wanted if wanted[key] != seen["spec"].get(key)]
    before, after = {key: seen["spec"].get(key) for key in differing}, {key: wanted[key] for key in differing}
    if set(differing) - LIVE_FIELDS:
        return Step(
            "sandbox", host, box["title"], "container", "replace", differ(differing), PART,
            before, after, destructive=at_work(seen),
        )
    if seen["state"] != "running":
        before, after = {"state": seen["state"], **before}, {"state": "running", **after}
        differing = ["state", *differing]
    why = f"container is {seen['state']}" if differing[:1] == ["state"] else differ(differing)
    step = Step("sandbox", host, box["title"], "container", "change", why, PART, before, after)
    return step if differing else None


def _orphans(host: str, spec: Json, observed: Json) -> Iterator[Step | None]:
    wanted = {box["container"]["name"] for box in spec["sandboxes"]}
    for name, seen in _of_fleet(observed, str(spec["fleet"])):
        if name in wanted:
            continue
        title = _title(name, seen)
        stopped = seen["state"] in ("exited", "created", "dead")
        why = "no longer in the inventory here; its data is kept"
        yield None if stopped else Step(
            "sandbox", host, title, "container", "stop", why, PART,
            {"state": seen["state"]}, {"state": "exited"}, destructive=True,
        )
