"""Owns what an inventory says of clusters: the `Cluster` of a host, and what sandboxes of pattern pod cannot have.
It must not reach a cluster or know which objects are made there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pifleet.errors import Mistakes
from pifleet.fleet import POD, Cluster, Fleet
from pifleet.inventory import rules
from pifleet.inventory.folder import Folder
from pifleet.inventory.schema import Cluster as Said
from pifleet.inventory.shape import cluster_shape
from pifleet.wording import path, show

GROUP = "pifleet_clusters"


def cluster(
    host: str, variables: Mapping[str, Any], groups: Sequence[str], fleet: str, folder: Folder
) -> Cluster | None:
    """The cluster that a host is, where it is in their group; every mistake is added to the folder's."""
    mistakes = folder.mistakes
    # What a template leaves empty is not said, as with Ansible's own variables.
    written = {name: value for name, value in variables.items()
               if name in Said.model_fields and value not in (None, "")}
    if GROUP not in groups:
        for name in written:
            mistakes.add(path("hosts", host, name), "a cluster", f"put {host} into {GROUP}, or remove it")
        return None
    if len(groups) > 1:
        other = next(group for group in groups if group != GROUP)
        mistakes.add(path("hosts", host), f"in {GROUP} and in {other}", "leave it in one of them")
    said = cluster_shape(host, written, mistakes)
    kubeconfig = str(folder.at(said.pifleet_kubeconfig)) if said.pifleet_kubeconfig else ""
    if kubeconfig and not folder.at(kubeconfig).is_file():
        mistakes.add(path("hosts", host, "pifleet_kubeconfig"), show(said.pifleet_kubeconfig),
                     "name a file that is there")
    for number, one in enumerate(said.pifleet_tolerations):
        if one.value and one.operator == "Exists":
            mistakes.add(path("hosts", host, "pifleet_tolerations", number), "a value beside Exists",
                         "remove the value, or use operator: Equal")
        if not one.key and one.operator == "Equal":
            mistakes.add(path("hosts", host, "pifleet_tolerations", number), "no key",
                         "name the taint's key, or use operator: Exists")
    return Cluster(
        prefix=said.pifleet_namespace or fleet, context=said.pifleet_kube_context, kubeconfig=kubeconfig,
        storage_class=said.pifleet_storage_class, storage=rules.size_in_bytes(said.pifleet_storage),
        runtime_class=said.pifleet_runtime_class, priority_class=said.pifleet_priority_class,
        node_selector=said.pifleet_node_selector,
        tolerations=tuple(one.model_dump(exclude_defaults=True) for one in said.pifleet_tolerations),
        image=said.pifleet_cluster_image, gateway_image=said.pifleet_cluster_gateway_image,
        user_namespaces=said.pifleet_user_namespaces,
    )


def check_pods(fleet: Fleet, mistakes: Mistakes) -> None:
    """Refuse what sandboxes of pattern pod cannot have yet, so that none runs with less than was asked for."""
    prefixes: dict[tuple[str, str, str], str] = {}
    for host in fleet.hosts.values():
        if host.cluster:
            place = (host.cluster.kubeconfig, host.cluster.context, host.cluster.prefix)
            first = prefixes.setdefault(place, host.name)
            if first != host.name:
                mistakes.add(path("hosts", host.name), f"the same cluster and namespaces as {first}",
                             "name another pifleet_kube_context or pifleet_namespace, or remove it")
    for box in fleet.sandboxes:
        where = ("pifleet_developers", box.developer, "sandboxes", box.name)
        for name in (box.models if box.pattern == POD else ()):
            if name in fleet.models and fleet.models[name].proxy_auth:
                mistakes.add(path(*where, "model"), show(name), "use a model without proxy_auth: in a cluster nobody "
                             "is root to read that and go on as somebody else")
        if box.pattern == POD and box.egress_sets:
            mistakes.add(path(*where, "egress"), show(", ".join(box.egress_sets)), "name the hosts, or a set of "
                         "pifleet_egress_sets: a cluster has no clients of its own to follow")
        if box.pattern == POD and box.egress and fleet.egress_proxy:
            mistakes.add(path(*where, "egress"), "a list beside pifleet_egress_proxy", "use []: in this version of "
                         "pifleet no proxy stands on the way out of a cluster")
