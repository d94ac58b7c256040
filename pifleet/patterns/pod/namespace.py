"""Owns what every namespace of a fleet has before anything runs in it: pod security, limits, no network, few rights.
It must not know what a sandbox or a gateway is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pifleet.fleet import DEVELOPER_ACCOUNT, KUBE_LABEL, Sandbox
from pifleet.patterns.pod.objects import Entry, Json, Place, manifest, milli

# The policy of this version, whatever a newer cluster means by "restricted".
SECURITY_VERSION = "v1.33"
SANDBOX_ACCOUNT = "pi"
GATEWAY, GATEWAY_PORT = "gateway", 8100
GATEWAY_LABEL = {"app.kubernetes.io/name": GATEWAY}
EGRESS, EGRESS_PORT = "egress", 8101
EGRESS_LABEL = {"app.kubernetes.io/name": EGRESS}
# What stands beside pi in its pod and leads its sockets to the gateway and to the egress proxy.
WAY_CPUS, WAY_MEMORY = 0.2, 64 << 20
HOME_BYTES = 2 << 30


def namespace(place: Place) -> Iterator[Entry]:
    """The namespace itself, in which only restricted pods run and nothing reaches anything."""
    security = {f"pod-security.kubernetes.io/{mode}{suffix}": value for mode in ("enforce", "warn", "audit")
                for suffix, value in (("", "restricted"), ("-version", SECURITY_VERSION))}
    yield Entry(manifest(place, "Namespace", place.namespace, labels=security))
    yield Entry(manifest(place, "NetworkPolicy", "default-deny", spec={
        "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []}))


def of_developer(place: Place, boxes: Sequence[Sandbox]) -> Iterator[Entry]:
    """A developer's namespace: as much as their sandboxes need, the gateways in reach, rights on their own pods."""
    yield from namespace(place)
    yield Entry(manifest(place, "ResourceQuota", "pifleet", spec={"hard": _quota(place, boxes), "scopes": []}))
    yield Entry(manifest(place, "LimitRange", "pifleet", spec={"limits": [{
        "type": "Container", "default": {"cpu": "100m", "memory": "64Mi"},
        "defaultRequest": {"cpu": "10m", "memory": "64Mi"},
        "max": {"cpu": milli(max(box.limits.cpus for box in boxes)),
                "memory": str(max(box.limits.memory for box in boxes))},
    }]}))
    yield Entry(manifest(place, "NetworkPolicy", "gateway", spec={
        "podSelector": {"matchLabels": place.labels()}, "policyTypes": ["Egress"], "ingress": [],
        "egress": [{"to": [{"namespaceSelector": _named(place.cluster.own_namespace),
                            "podSelector": {"matchLabels": label}}],
                    "ports": [{"port": port, "protocol": "TCP"}]}
                   for label, port in ((GATEWAY_LABEL, GATEWAY_PORT), (EGRESS_LABEL, EGRESS_PORT))]}))
    for name in (SANDBOX_ACCOUNT, DEVELOPER_ACCOUNT):
        yield Entry(manifest(place, "ServiceAccount", name, automountServiceAccountToken=False))
    yield Entry(manifest(place, "Role", DEVELOPER_ACCOUNT, rules=_rules(boxes)))
    yield Entry(manifest(
        place, "RoleBinding", DEVELOPER_ACCOUNT,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": DEVELOPER_ACCOUNT},
        subjects=[{"kind": "ServiceAccount", "name": DEVELOPER_ACCOUNT, "namespace": place.namespace}]))


def _quota(place: Place, boxes: Sequence[Sandbox]) -> Json:
    count = len(boxes)
    cpus = sum(box.limits.cpus + WAY_CPUS for box in boxes)
    memory = sum(box.limits.memory + WAY_MEMORY for box in boxes)
    return {
        "pods": str(count), "persistentvolumeclaims": str(2 * count), "services": "0",
        "requests.storage": str(count * (place.cluster.storage + HOME_BYTES)),
        "limits.cpu": milli(cpus), "limits.memory": str(memory), "requests.memory": str(memory),
    }


def _rules(boxes: Sequence[Sandbox]) -> list[Json]:
    """What a developer may: see, enter, stop and start their own sandboxes, and say by a Lease that they are at it.

    Over a WebSocket an exec needs both get and create, whatever older documentation says (measured on 1.36).
    """
    pods, sets = sorted(box.pod for box in boxes), sorted(box.container for box in boxes)

    def rule(group: str, resources: list[str], verbs: list[str], names: list[str]) -> Json:
        return {"apiGroups": [group], "resources": resources, "verbs": verbs, "resourceNames": names}

    return [
        rule("", ["pods"], ["list", "watch"], []),
        rule("", ["pods", "pods/log"], ["get"], pods),
        rule("", ["pods/exec"], ["get", "create"], pods),
        rule("apps", ["statefulsets"], ["get"], sets),
        rule("apps", ["statefulsets/scale"], ["get", "patch", "update"], sets),
        rule("coordination.k8s.io", ["leases"], ["get", "create", "update", "delete"], []),
    ]


def _named(namespace: str) -> Json:
    """The label that every namespace has by itself (docs: "Automatic labelling")."""
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def of_this_fleet(place: Place) -> Json:
    """What selects the namespaces of all developers of a fleet."""
    return {"matchLabels": {f"{KUBE_LABEL}fleet": place.fleet.name},
            "matchExpressions": [{"key": f"{KUBE_LABEL}developer", "operator": "Exists"}]}
