"""A cluster for tests, as values: a fleet with one, its spec, and what a look answers where all is as it should be."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from pifleet.desired import host_spec
from pifleet.fleet import Cluster, Connection, Fleet, Host, Sandbox
from pifleet.kube.pods import titles_of
from pifleet.patterns.pod import complete
from pifleet.patterns.pod.objects import key_of, resolved
from pifleet.secret import Secret
from tests.unit import fleets

NONCE = "nonce"
KEYS = {"model:claude": Secret("sk-poison")}


def fleet(*boxes: Sandbox, **changes: Any) -> Fleet:
    prod = Host("prod", ("pifleet_clusters",), Connection(local=True), cluster=Cluster("acme"))
    return replace(fleets.fleet(*(boxes or (box(),)), **changes), hosts={"prod": prod})


def box(title: str = "ana/main", **changes: Any) -> Sandbox:
    return fleets.box(title, **{"pattern": "pod", **changes})


def spec(of: Fleet) -> dict[str, Any]:
    made = host_spec(of, "prod", of.sandboxes, Path("/cache"))
    complete(made, KEYS.get, NONCE)
    return made


def as_it_should_be(wanted: dict[str, Any]) -> dict[str, Any]:
    """What a look answers for a cluster on which everything is as its spec says, defaults of the server among it."""
    objects = {key_of(entry["object"]): _served(entry) for entry in copy.deepcopy(wanted["cluster"]["objects"])}
    objects = {key: resolved(one, objects) for key, one in objects.items()}
    boxes = wanted["cluster"]["sandboxes"]
    pods = {f"{one['namespace']}/{one['pod']}": {"state": "running", "why": "", "image": "i", "agent": {}}
            for one in boxes}
    return {
        "services": {}, "paths": {}, "containers": {}, "openshell": {},
        "cluster": {
            "version": "v1.36.3", "objects": objects, "titles": titles_of(objects), "pods": pods,
            "claims": {f"{one['namespace']}/{kind}-{one['pod']}": "10Gi" for one in boxes
                       for kind in ("workspace", "agent")},
            "repos": {one["title"]: {repo["name"]: True for repo in one["repos"]} for one in boxes},
            "classes": {"storage": ["lab"], "default": "lab", "runtime": [], "priority": []},
            "images": ["docker.io/" + wanted["image"]["name"]], "enforcer": "cilium", "memory": 8 << 30,
            "user_namespaces": [""], "own": False, "hidden": [],
        },
    }


def _served(entry: dict[str, Any]) -> dict[str, Any]:
    one = entry["object"]
    one["metadata"] |= {"resourceVersion": "7", "uid": "u"}
    if one["kind"] == "Service":
        one["spec"]["clusterIP"] = "198.18.96.7"
    if one["kind"] == "Secret":
        one["data"] = {name: source.get("hmac", f"hash of {source.get('token')}")
                       for name, source in entry["values"].items()}
    if one["kind"] in ("StatefulSet", "Deployment"):
        one["spec"]["template"]["spec"] |= {"restartPolicy": "Always", "schedulerName": "default-scheduler"}
    return one
