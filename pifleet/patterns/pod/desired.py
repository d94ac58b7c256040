"""Owns what a cluster gets for its sandboxes: the objects, in the order of making them, and who is removed with what.
It must not know what is seen there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from pifleet.desired.egress import Clients
from pifleet.fleet import Fleet, Host, Sandbox
from pifleet.patterns import Read
from pifleet.patterns.pod import box as pods
from pifleet.patterns.pod import namespace
from pifleet.patterns.pod.door import TOKENS, behind
from pifleet.patterns.pod.gateway import of_gateway
from pifleet.patterns.pod.objects import CLUSTER_PART, POD_PART, Place, developers
from pifleet.patterns.pod.proxy import of_proxy


def parts(_: Host) -> tuple[str, ...]:
    """See `pifleet.patterns.Pattern`."""
    return CLUSTER_PART, POD_PART


def extend(spec: dict[str, Any], fleet: Fleet, boxes: Sequence[Sandbox], _: Clients) -> None:
    """See `pifleet.patterns.Pattern`. A cluster without a sandbox gets nothing."""
    host = fleet.hosts[spec["host"]]
    own = Place(fleet, host)
    people = {name: (Place(fleet, host, name), theirs) for name, theirs in developers(list(boxes)).items()}
    entries = [*behind(own, boxes), *of_gateway(own, boxes), *of_proxy(own, boxes)] if boxes else []
    for place, theirs in people.values():
        entries += namespace.of_developer(place, theirs)
        entries += [entry for box in theirs for entry in pods.of_sandbox(place, box)]
    assert host.cluster
    spec["cluster"] = {
        "kubeconfig": host.cluster.kubeconfig,
        "context": host.cluster.context,
        "tokens": f"{own.namespace}/{TOKENS}",
        "objects": [entry.as_json() for entry in entries],
        "sandboxes": [pods.entry(place, box) for place, theirs in people.values() for box in theirs],
        "orphans": [],
        "surplus": [],
    }


def complete(spec: dict[str, Any], read: Read, nonce: str) -> None:
    """See `pifleet.patterns.Pattern`; a value that is not to be read now is not compared."""
    for entry in (spec["cluster"] or {"objects": ()})["objects"]:
        for source in entry["values"].values():
            secret = read(source["secret"]) if "secret" in source else None
            if secret:
                source["hmac"] = secret.keyed_hash(nonce, source["template"])


def removal(fleet: Fleet, host: str, boxes: Sequence[Sandbox], stay: Sequence[Sandbox]) -> dict[str, Any]:
    """See `pifleet.patterns.Pattern`; a namespace in which nobody stays goes too, unless it still has a volume."""
    staying, last = {box.developer for box in stay}, {box.developer: box for box in boxes}
    found = []
    for box in boxes:
        place = Place(fleet, fleet.hosts[host], box.developer)
        names = pods.names(place, box)
        if box.developer not in staying and last[box.developer] is box:
            names.append(f"Namespace {place.namespace}")
        if not stay and box is boxes[-1]:
            names.append(f"Namespace {place.cluster.own_namespace}")
        found.append({"id": box.id, "objects": names})
    return {"pods": found}


def paths(_: Sandbox) -> list[PurePosixPath]:
    """None: a cluster has no folder of ours."""
    return []


def services() -> list[dict[str, Any]]:
    """None: what runs there is an object."""
    return []
