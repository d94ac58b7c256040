"""Owns what the nodes of a cluster say of themselves, as they stand in the API: their memory, images and runtimes.
It must not ask for a node or know what pods are wanted."""

from __future__ import annotations

from collections.abc import Sequence

from pifleet.fleet import Host
from pifleet.kube.client import Json
from pifleet.patterns.pod.fields import quantity


def memory(nodes: Sequence[Json]) -> int:
    """Bytes that they have for pods together."""
    return sum(int(quantity(node["status"]["allocatable"]["memory"]) or 0) for node in nodes)


def images(nodes: Sequence[Json]) -> list[str]:
    """The names of all images that one of them has; of a node that has very many it tells the largest."""
    return sorted({name for node in nodes for image in node["status"].get("images") or ()
                   for name in image.get("names") or ()})


def user_namespaces(nodes: Sequence[Json], host: Host, runtimes: Sequence[Json]) -> list[str]:
    """Which of these RuntimeClasses, and "" for none, give pods users of their own on every node where they may run.

    Nodes tell it by the handlers of their runtime (k8s.io/api, NodeRuntimeHandlerFeatures).
    """
    assert host.cluster
    wanted = host.cluster.node_selector.items()
    handlers = [{one.get("name", "") for one in node["status"].get("runtimeHandlers") or ()
                 if (one.get("features") or {}).get("userNamespaces")}
                for node in nodes if wanted <= node["metadata"].get("labels", {}).items()]
    serving = set.intersection(*handlers) if handlers else set[str]()
    named = {"": "", **{one["metadata"]["name"]: one["handler"] for one in runtimes}}
    return [name for name, handler in named.items() if handler in serving]
