"""All that pifleet makes in a cluster, edited and deleted by hand: each named in the plan, each repaired, and the
volumes with the developers' work the same as before."""

from __future__ import annotations

import json

from tests.integration.cluster_farm import ClusterFarm

ANA, OWN = "acme-ana", "acme-pifleet"
SANDBOX = "pi-ana-main"
TEMPLATE = "/spec/template/spec"
BUSYBOX = "localhost/pifleet-lab/busybox:1"


def add(path: str, value: object) -> dict[str, object]:
    return {"op": "add", "path": path, "value": value}


# (kind, name, namespace, patch): a list is a JSON patch, a mapping a merge.
EDITED: list[tuple[str, str, str, object]] = [
    ("Namespace", ANA, "", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}),
    ("Namespace", OWN, "", {"metadata": {"labels": {"pifleet.io/fleet": None}}}),
    ("ResourceQuota", "pifleet", ANA, {"spec": {"hard": {"pods": "50"}}}),
    ("LimitRange", "pifleet", ANA, [add("/spec/limits/0/max/memory", "64Gi")]),
    ("NetworkPolicy", "default-deny", ANA, {"spec": {"egress": [{}]}}),
    ("NetworkPolicy", "gateway", ANA, [add("/spec/egress/0/ports/-", {"port": 443, "protocol": "TCP"})]),
    ("NetworkPolicy", "gateway", OWN, [add("/spec/ingress/0/from/-", {"podSelector": {}})]),
    ("ServiceAccount", "pi", ANA, {"automountServiceAccountToken": True}),
    ("Role", "developer", ANA, [add("/rules/-", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]})]),
    ("RoleBinding", "developer", ANA,
     [add("/subjects/-", {"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"})]),
    ("Secret", SANDBOX, ANA, {"data": {"token": "ZXZpbA=="}}),
    ("Secret", "gateway-keys", OWN, {"data": {"more": "ZXZpbA=="}}),
    ("ConfigMap", SANDBOX, ANA, {"data": {"models.json": "{}", "more": "x"}}),
    ("ConfigMap", "gateway-programs", OWN, {"data": {"passage": "exit"}}),
    ("Service", "gateway", OWN, {"spec": {"selector": {"more": "x"}}}),
    ("Deployment", "gateway", OWN, {"spec": {"replicas": 0}}),
    ("StatefulSet", SANDBOX, ANA, {"spec": {"replicas": 0}}),
    ("StatefulSet", "pi-bo-main", "acme-bo", {"metadata": {"labels": {"pifleet.io/developer": "eve"}}}),
]
IMAGE = [add(f"{TEMPLATE}/containers/0/image", BUSYBOX)]
# What the namespace's pod security lets nobody run, and what it would let run.
POD = {
    "containers.extra": add(f"{TEMPLATE}/containers/-", {"name": "extra", "image": BUSYBOX}),
    "volumes.node": add(f"{TEMPLATE}/volumes/-", {"name": "node", "hostPath": {"path": "/"}}),
    "hostNetwork": add(f"{TEMPLATE}/hostNetwork", True),
    "containers.pi.securityContext.runAsUser": add(f"{TEMPLATE}/containers/0/securityContext/runAsUser", 0),
    "automountServiceAccountToken": add(f"{TEMPLATE}/automountServiceAccountToken", True),
    "containers.pi.env.KEY": add(f"{TEMPLATE}/containers/0/env/-", {"name": "KEY", "value": "x"}),
    "containers.pi.resources.limits.memory": add(f"{TEMPLATE}/containers/0/resources/limits/memory", "3Gi"),
}
DELETED = [
    *((kind, name, ANA) for kind, name in (
        ("ResourceQuota", "pifleet"), ("LimitRange", "pifleet"), ("NetworkPolicy", "default-deny"),
        ("NetworkPolicy", "gateway"), ("ServiceAccount", "pi"), ("Role", "developer"), ("RoleBinding", "developer"),
        ("Secret", SANDBOX), ("ConfigMap", SANDBOX), ("StatefulSet", SANDBOX))),
    *((kind, name, OWN) for kind, name in (
        ("Secret", "gateway-tokens"), ("Secret", "gateway-keys"), ("ConfigMap", "gateway-0"), ("Service", "gateway"),
        ("Deployment", "gateway"))),
]


def test_what_was_edited_is_named_and_put_right(pods: ClusterFarm) -> None:
    before = precious(pods)
    for kind, name, namespace, patch in EDITED:
        edit(pods, kind, name, namespace, patch)

    assert planned(pods) >= {f"{kind} {f'{space}/' if space else ''}{name}" for kind, name, space, _ in EDITED}
    repaired(pods, before)


def test_what_was_done_to_a_pod_is_named_and_undone(pods: ClusterFarm) -> None:
    for patch, fields in ((IMAGE, {"containers.pi.image"}), (list(POD.values()), set(POD))):
        before = precious(pods)
        edit(pods, "StatefulSet", SANDBOX, ANA, patch)

        steps = pods.plan().json["steps"]
        named = {path for step in steps if step["item"] == f"StatefulSet {ANA}/{SANDBOX}" for path in step["after"]}
        assert named >= {f"spec.template.spec.{field}" for field in fields}
        repaired(pods, before)


def test_what_was_deleted_is_made_again(pods: ClusterFarm) -> None:
    before = precious(pods)
    for kind, name, namespace in DELETED:
        pods.kubectl("delete", kind, name, "-n", namespace)

    assert planned(pods) >= {f"{kind} {namespace}/{name}" for kind, name, namespace in DELETED}
    repaired(pods, before)


def edit(pods: ClusterFarm, kind: str, name: str, namespace: str, patch: object) -> None:
    how = "json" if isinstance(patch, list) else "merge"
    place = ["-n", namespace] if namespace else []
    pods.kubectl("patch", kind, name, *place, f"--type={how}", "-p", json.dumps(patch))


def planned(pods: ClusterFarm) -> set[str]:
    done = pods.plan()
    assert done.code == 3, done.out + done.err
    return {step["item"] for step in done.json["steps"]}


def precious(pods: ClusterFarm) -> str:
    """Leave something in the workspace; the volumes as they are now."""
    assert pods.pifleet("exec", "ana", "--", "sh", "-c", "echo precious > /workspace/api/precious").code == 0
    return pods.kubectl("get", "pvc", "-n", ANA, "-o", "jsonpath={.items[*].metadata.uid}")


def repaired(pods: ClusterFarm, volumes: str) -> None:
    pods.repaired()
    left = pods.plan()
    assert (left.code, left.json["steps"]) == (0, [])
    assert pods.kubectl("get", "pvc", "-n", ANA, "-o", "jsonpath={.items[*].metadata.uid}") == volumes
    assert pods.pifleet("exec", "ana", "--", "cat", "/workspace/api/precious").out == "precious\n"
    assert pods.pifleet("run", "ana", "-p", "SAY it answers").code == 0
