"""Owns what doctor asks of a cluster: its version, the classes that are named, an image, and who enforces policies.
It must not change or look at anything itself."""

from __future__ import annotations

from collections.abc import Iterator

from pifleet import phrases
from pifleet.fleet import Cluster, Fleet
from pifleet.patterns.pod.fields import quantity
from pifleet.plan import Json
from pifleet.report import Check
from pifleet.versions import numbers

# Pod Security admission and server-side apply without a gate; older ones get no fixes (kubernetes.io/releases).
OLDEST = (1, 28)


def needs(fleet: Fleet, host: str, seen: Json) -> Iterator[Check]:
    """See `pifleet.patterns.Pattern`."""
    cluster, there = fleet.hosts[host].cluster, seen["cluster"]
    assert cluster
    if there["own"]:
        yield Check.of(host, "rights", False, "a kubeconfig that sees its own sandboxes only",
                       "use the operator's pifleet_kubeconfig")
        return
    version = str(there["version"])
    yield Check.of(host, "version", numbers(version.lstrip("v"))[:2] >= OLDEST, f"Kubernetes {version}",
                   f"use Kubernetes {OLDEST[0]}.{OLDEST[1]} or newer")
    yield from _classes(host, cluster, there["classes"])
    if cluster.user_namespaces:
        yield Check.of(host, "user namespaces", cluster.runtime_class in there["user_namespaces"],
                       "pods have users of their own", "remove pifleet_user_namespaces: not every node of these pods "
                       "says that it serves them (containerd 2.0, CRI-O 1.25, Linux 6.3)")
    yield from _volumes(fleet, host, cluster, there["claims"])
    image = cluster.image or fleet.image.name
    if not cluster.image and not any(name.endswith(image) for name in there["images"]):
        yield Check(host, "image", "note", f"no node says that it has {image}",
                    try_="load it into the nodes, or name pifleet_cluster_image")
    if not there["enforcer"]:
        yield Check(host, "network policies", "note",
                    "no network plugin is known here that enforces them: pods may reach more than their gateway",
                    try_="use one that does, such as Cilium or Calico")
    else:
        yield Check(host, "network policies", "pass", f"enforced by {there['enforcer']}")


def _volumes(fleet: Fleet, host: str, cluster: Cluster, claims: Json) -> Iterator[Check]:
    """Workspaces that were made with another size: a claim never shrinks, and whether one may grow its class says."""
    kubectl = f"kubectl --context {cluster.context}" if cluster.context else "kubectl"
    for box in fleet.sandboxes:
        namespace, claim = cluster.namespace_of(box.developer), f"workspace-{box.pod}"
        size = quantity(claims.get(f"{namespace}/{claim}"))
        if size is None or size == cluster.storage:
            continue
        patch = f'{{"spec": {{"resources": {{"requests": {{"storage": "{cluster.storage}"}}}}}}}}'
        yield Check(
            host, f"volume of {box.title}", "note",
            f"{phrases.size(int(size))}, and the inventory says {phrases.size(cluster.storage)}; it keeps what it has",
            try_=f"{kubectl} -n {namespace} patch pvc {claim} -p '{patch}'" if size < cluster.storage else "")


def _classes(host: str, cluster: Cluster, classes: Json) -> Iterator[Check]:
    wanted = {"storage": cluster.storage_class or classes["default"], "runtime": cluster.runtime_class,
              "priority": cluster.priority_class}
    if not wanted["storage"]:
        yield Check(host, "storage class", "fail", "the cluster has no default StorageClass",
                    try_="name one with pifleet_storage_class")
    for kind, name in wanted.items():
        if name:
            known = ", ".join(classes[kind]) or "none"
            yield Check.of(host, f"{kind} class", name in classes[kind], f"{name}; the cluster has {known}",
                           f"correct pifleet_{kind}_class")
