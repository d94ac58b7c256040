"""Owns how an object of a cluster stands in a spec: its manifest with our labels, and what is filled in only there.
It must not know what any kind of object is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pifleet.fleet import KUBE_LABEL, Cluster, Fleet, Host, Sandbox, developer_label

Json = dict[str, Any]

CLUSTER_PART, POD_PART = "cluster", "sandbox_pod"
MANAGED = {"app.kubernetes.io/managed-by": "pifleet"}
# A value that only the cluster knows: of another object of ours there, by kind, namespace and name, and where in it.
FROM = "$from"
VERSIONS = {
    "Namespace": "v1", "ResourceQuota": "v1", "LimitRange": "v1", "ServiceAccount": "v1", "Secret": "v1",
    "ConfigMap": "v1", "Service": "v1", "NetworkPolicy": "networking.k8s.io/v1",
    "Role": "rbac.authorization.k8s.io/v1", "RoleBinding": "rbac.authorization.k8s.io/v1", "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
}
# Non-root in all of the cluster's pods, and inside the 65536 ids that a pod with its own user namespace has.
UID = 1000


@dataclass(frozen=True)
class Place:
    """A namespace of a fleet on a cluster: pifleet's own, or a developer's."""

    fleet: Fleet
    host: Host
    developer: str = ""

    @property
    def cluster(self) -> Cluster:
        assert self.host.cluster
        return self.host.cluster

    @property
    def namespace(self) -> str:
        return self.cluster.namespace_of(self.developer) if self.developer else self.cluster.own_namespace

    def labels(self, box: Sandbox | None = None) -> dict[str, str]:
        found = {**MANAGED, f"{KUBE_LABEL}fleet": self.fleet.name}
        if self.developer:
            found[f"{KUBE_LABEL}developer"] = developer_label(self.developer)
        if box:
            found[f"{KUBE_LABEL}sandbox"] = box.id
        return found


@dataclass(frozen=True)
class Entry:
    """One object of a spec. `values` says where each value of a Secret comes from: {secret, template} or {token}."""

    manifest: Json
    part: str = CLUSTER_PART
    sandbox: str = ""
    values: Mapping[str, Json] = field(default_factory=dict)

    def as_json(self) -> Json:
        return {"part": self.part, "sandbox": self.sandbox, "object": self.manifest, "values": dict(self.values)}


def manifest(place: Place, kind: str, name: str, box: Sandbox | None = None, **sections: Any) -> Json:
    """What pifleet owns of an object; `sections` are its top-level keys besides those that every object has."""
    metadata: Json = {"name": name, "labels": place.labels(box)}
    if kind != "Namespace":
        metadata["namespace"] = place.namespace
    if box:
        metadata["annotations"] = {f"{KUBE_LABEL}title": box.title}
    metadata["labels"] |= sections.pop("labels", {})
    return {"apiVersion": VERSIONS[kind], "kind": kind, "metadata": metadata, **sections}


def key_of(manifest: Mapping[str, Any]) -> str:
    """The name of an object in looks and specs: `StatefulSet acme-ana/pi-ana-main`, `Namespace acme-ana`."""
    metadata = manifest["metadata"]
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{manifest['kind']} {place}{metadata['name']}"


class Lookup(Protocol):
    """The objects of a cluster by name."""

    def get(self, key: str, /) -> Any: ...


def resolved(value: Any, objects: Lookup) -> Any:
    """A manifest with what other objects of the cluster say filled in; None for what none says."""
    if isinstance(value, dict):
        if FROM in value:
            key, *path = value[FROM]
            found: Any = objects.get(key)
            for part in path:
                found = (found or {}).get(part)
            return found
        return {key: resolved(one, objects) if isinstance(one, (dict, list)) else one for key, one in value.items()}
    if isinstance(value, list):
        return [resolved(one, objects) if isinstance(one, (dict, list)) else one for one in value]
    return value


def locked_down(**more: Any) -> Json:
    """What the Pod Security Standard "restricted" wants of a container, and a read-only root besides.

    What is switched off is said, so that somebody who switches it on differs from it.
    """
    return {
        "allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": True,
        "runAsNonRoot": True, "runAsUser": UID, "runAsGroup": UID, "capabilities": {"drop": ["ALL"], "add": []},
        "seccompProfile": {"type": "RuntimeDefault"}, **more,
    }


def pod(place: Place, account: str, **sections: Any) -> Json:
    """A pod's spec: restricted, without a token or anything of its node, where the inventory says pods may run.

    What it does not say is said to be nothing, so that what it said before is noticed and goes.
    """
    cluster = place.cluster
    return {
        "serviceAccountName": account, "automountServiceAccountToken": False, "enableServiceLinks": False,
        "hostNetwork": False, "hostPID": False, "hostIPC": False, "shareProcessNamespace": False, "initContainers": [],
        "securityContext": {"runAsNonRoot": True, "runAsUser": UID, "runAsGroup": UID, "fsGroup": UID,
                            "fsGroupChangePolicy": "OnRootMismatch", "supplementalGroups": [],
                            "seccompProfile": {"type": "RuntimeDefault"}},
        "nodeSelector": dict(cluster.node_selector), "tolerations": [dict(one) for one in cluster.tolerations],
        "runtimeClassName": cluster.runtime_class or None, "priorityClassName": cluster.priority_class,
        "hostUsers": False if cluster.user_namespaces else None,
        **sections,
    }


def container(name: str, image: str, command: list[str], **sections: Any) -> Json:
    """A container in a pod's spec. Images are named by content, so one that is there is the right one."""
    return {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", "command": command, "args": [],
            "envFrom": [], "securityContext": locked_down(), **sections}


def limits(cpus: float, memory: int, share: int = 1) -> Json:
    """A container's resources: all of its memory is set aside, and a `share` of its cores."""
    return {"limits": {"cpu": milli(cpus), "memory": str(memory)},
            "requests": {"cpu": milli(cpus / share), "memory": str(memory)}}


def milli(cpus: float) -> str:
    return f"{round(cpus * 1000)}m"


def developers(boxes: Iterator[Sandbox] | list[Sandbox]) -> dict[str, list[Sandbox]]:
    """The sandboxes of each developer, in order."""
    found: dict[str, list[Sandbox]] = {}
    for box in boxes:
        found.setdefault(box.developer, []).append(box)
    return found
