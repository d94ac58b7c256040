"""Owns the difference between sandboxes of pattern gondolin as they should be and as they were seen: steps with a why.
It must not reach a host or know how a step is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pifleet.fleet import Sandbox
from pifleet.patterns.gondolin.desired import PART, QEMU_PART, RUNTIME_PART, SERVICE
from pifleet.plan import ABSENT, Json, Step, at_work, item, repos
from pifleet.versions import numbers

WAYS = ("kvm", "tcg")
WANTED = {"running": True, "enabled": True, "defined": True, "current": True}


def compare(spec: Json, observed: Json) -> Iterator[Step | None]:
    """See `pifleet.patterns.Pattern`."""
    if not spec["gondolin"]:
        return
    host, own, there = str(spec["host"]), spec["gondolin"], observed["gondolin"]
    yield _qemu(host, own["qemu"], str(there.get("qemu") or ""))
    runtime = _runtime(host, own["runtime"], there)
    acceleration = _acceleration(host, own["runtime"], str(there.get("acceleration") or ""))
    yield runtime
    yield acceleration
    changing = _changing(spec, observed["paths"])
    if runtime:
        changing |= {path for box in own["sandboxes"] for path in box["service"]["reads"]
                     if path.startswith(f"{own['runtime']['path']}/")}
    if acceleration:
        changing.add(own["acceleration"])
    for box in own["sandboxes"]:
        yield from _sandbox(host, box, observed, changing)
    yield from _orphans(host, spec, there)


def seen(observed: Json, box: Sandbox) -> Json | None:
    """See `pifleet.patterns.Pattern`."""
    found: Json | None = observed["gondolin"].get("sandboxes", {}).get(box.id)
    return found


def titles(observed: Json, fleet: str) -> list[str]:
    """See `pifleet.patterns.Pattern`."""
    boxes = observed["gondolin"].get("sandboxes", {})
    return [str(box["title"]) for _, box in sorted(boxes.items()) if box and box["fleet"] == fleet]


def cut(spec: Json, observed: Json, steps: Sequence[Step]) -> dict[str, Any]:
    """See `pifleet.patterns.Pattern`."""
    if not spec["gondolin"]:
        return {}
    named = {step.sandbox for step in steps}
    stopped = {step.sandbox for step in steps if step.action == "stop" and step.part == PART}
    boxes = observed["gondolin"].get("sandboxes", {})
    return {"gondolin": {
        **spec["gondolin"],
        "sandboxes": [box for box in spec["gondolin"]["sandboxes"] if box["title"] in named],
        "orphans": [{"name": SERVICE + name, "argv": [], "user": ""} for name, box in sorted(boxes.items())
                    if box and box["title"] in stopped],
    }}


def _qemu(host: str, wanted: Json, version: str) -> Step | None:
    have = {"at_least": numbers(version) >= numbers(wanted["minimum"])} if version else ABSENT
    return item(host, "host", "QEMU", QEMU_PART, {"at_least": True}, have)


def _runtime(host: str, wanted: Json, there: Json) -> Step | None:
    """What was carried has to be as it was recorded then; a damaged one is carried again."""
    whole = there.get("runtime") == there.get("recorded")
    have = {"whole": whole} if there.get("runtime") and there.get("recorded") else ABSENT
    return item(host, "image", f"gondolin {wanted['hash']}", RUNTIME_PART, {"whole": True}, have)


def _acceleration(host: str, runtime: Json, told: str) -> Step | None:
    """A word that a machine of this runtime proved by booting; a device node proves nothing."""
    way, _, proved_by = told.partition(" ")
    have = {"proved": way in WAYS and proved_by == runtime["hash"]} if told else ABSENT
    return item(host, "host", "acceleration", RUNTIME_PART, {"proved": True}, have)


def _changing(spec: Json, paths: Json) -> set[str]:
    """The files of the spec that are there and will be written anew: whoever reads them has to start after that."""
    return {file["path"] for file in spec["files"]
            if paths.get(file["path"]) and paths[file["path"]].get("sha256") != file["sha256"]}


def _sandbox(host: str, box: Json, observed: Json, changing: set[str]) -> Iterator[Step | None]:
    yield from repos(host, box, observed, PART)
    found = observed["gondolin"].get("sandboxes", {}).get(box["id"])
    if found and changing.intersection(box["service"]["reads"]):
        found = {**found, "service": {**found["service"], "current": False}}
    yield _places(host, box, found, observed.get("unknown", {}).get(f"gondolin/{box['id']}", ""))


def _places(host: str, box: Json, found: Json | None, unseen: str) -> Step | None:
    """The sandbox's service. One that runs and was changed is started anew, which ends a pi that is at work."""
    have = found["service"] if found else ABSENT
    step = item(host, "sandbox", "places", PART, WANTED, have, sandbox=str(box["title"]))
    if step is None:
        return None
    ends = bool(found and have.get("running"))
    why = f"cannot be seen: {unseen}" if unseen else "do not run" if found and not ends else step.why
    return Step(step.kind, host, step.sandbox, step.item, step.action, why, PART, step.before, step.after,
                destructive=ends and at_work(found or ABSENT))


def _orphans(host: str, spec: Json, there: Json) -> Iterator[Step | None]:
    wanted = {box["id"] for box in spec["gondolin"]["sandboxes"]}
    for name, box in sorted(there.get("sandboxes", {}).items()):
        if name in wanted or not box or box["fleet"] != spec["fleet"]:
            continue
        why = "no longer in the inventory here; its data is kept"
        yield None if not box["service"]["running"] else Step(
            "sandbox", host, str(box["title"]), "places", "stop", why, PART, {"running": True}, {"running": False},
            destructive=True,
        )
