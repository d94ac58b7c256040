"""What an inventory says of clusters: what it becomes, and every refusal word for word."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from pifleet.errors import BadInput
from pifleet.fleet import POD, Cluster, Connection
from tests.unit.inventories import fleet

DIGEST = "registry.example.com/pi@sha256:" + "0" * 64


def prod(**variables: Any) -> dict[str, Any]:
    return {"groups/pifleet_clusters": {"hosts": {"prod": variables}}, "developers/ana/pattern": "pod"}


def test_a_cluster_is_a_host_that_offers_pods_and_is_reached_from_here(tmp_path: Path) -> None:
    made = fleet(tmp_path, {**prod(), "vars/ansible_user": "root", "vars/ansible_host": "192.0.2.1"})

    assert made.hosts_offering(POD) == ("prod",)
    assert made.hosts["prod"].cluster == Cluster("acme")
    assert made.hosts["prod"].connection == Connection(local=True)


def test_what_is_said_of_a_cluster_reaches_it(tmp_path: Path) -> None:
    (tmp_path / "admin.conf").touch()
    spot = {"key": "spot", "operator": "Exists", "effect": "NoSchedule"}
    made = fleet(tmp_path, prod(
        pifleet_kube_context="arn:aws:eks:eu-west-1:1:cluster/prod", pifleet_kubeconfig="admin.conf",
        pifleet_namespace="pi", pifleet_storage_class="fast", pifleet_storage="20g", pifleet_runtime_class="gvisor",
        pifleet_priority_class="low", pifleet_node_selector={"kubernetes.io/arch": "amd64"},
        pifleet_tolerations=[spot], pifleet_cluster_image=DIGEST, pifleet_cluster_gateway_image=DIGEST,
        pifleet_user_namespaces=True))

    assert made.hosts["prod"].cluster == Cluster(
        "pi", "arn:aws:eks:eu-west-1:1:cluster/prod", str(tmp_path / "admin.conf"), "fast", 20 << 30, "gvisor", "low",
        {"kubernetes.io/arch": "amd64"}, (spot,), DIGEST, DIGEST, user_namespaces=True)


def test_a_developer_has_one_namespace_that_can_be_nobody_elses() -> None:
    names = [Cluster("pi").namespace_of(name) for name in ("ana", "ana-", "pifleet", "a-developer-name")]

    assert names == ["pi-ana", "pi-ana-41489a", "pi-pifleet-a8fa0f", "pi-a-developer-name"]
    assert Cluster("pi").own_namespace == "pi-pifleet"


REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("an unknown key", prod(pifleet_kube_contxt="prod"),
     ["pifleet_kube_contxt: saw different values on prod and farm-1; set it once, under all.vars",
      "pifleet_kube_contxt: saw an unknown key; did you mean pifleet_kube_context?"]),
    ("a context with a shell's characters", prod(pifleet_kube_context="a;b"),
     ['hosts.prod.pifleet_kube_context: saw "a;b"; use the name of a context in the kubeconfig']),
    ("a kubeconfig that is not there", prod(pifleet_kubeconfig="admin.conf"),
     ['hosts.prod.pifleet_kubeconfig: saw "admin.conf"; name a file that is there']),
    ("a namespace that is no name", prod(pifleet_namespace="Pi"),
     ['hosts.prod.pifleet_namespace: saw "Pi"; '
      "use lower-case letters, digits and hyphens, a letter first, at most 32 characters"]),
    ("a size without a unit", prod(pifleet_storage="10"),
     ['hosts.prod.pifleet_storage: saw "10"; use a size such as "8g" or "512m"']),
    ("classes that are no names",
     prod(pifleet_storage_class="-", pifleet_runtime_class="a b", pifleet_priority_class="A"),
     ['hosts.prod.pifleet_storage_class: saw "-"; use the name of a class that the cluster has',
      'hosts.prod.pifleet_runtime_class: saw "a b"; use the name of a class that the cluster has',
      'hosts.prod.pifleet_priority_class: saw "A"; use the name of a class that the cluster has']),
    ("an image that floats", prod(pifleet_cluster_image="pi:latest", pifleet_cluster_gateway_image="pi"),
     ['hosts.prod.pifleet_cluster_image: saw "pi:latest"; use an image reference with @sha256:DIGEST',
      'hosts.prod.pifleet_cluster_gateway_image: saw "pi"; use an image reference with @sha256:DIGEST']),
    ("a node's label that is no text", prod(pifleet_node_selector={"gpu": True}),
     ['hosts.prod.pifleet_node_selector.gpu: saw true; use a label\'s value as text, such as "true"']),
    ("a toleration with a misspelt effect", prod(pifleet_tolerations=[{"key": "spot", "effect": "NoSchedul"}]),
     ['hosts.prod.pifleet_tolerations.0.effect: saw "NoSchedul"; did you mean NoSchedule?']),
    ("a toleration of a value and of any",
     prod(pifleet_tolerations=[{"key": "spot", "operator": "Exists", "value": "yes"}]),
     ["hosts.prod.pifleet_tolerations.0: saw a value beside Exists; remove the value, or use operator: Equal"]),
    ("a toleration of nothing", prod(pifleet_tolerations=[{"effect": "NoSchedule"}]),
     ["hosts.prod.pifleet_tolerations.0: saw no key; name the taint's key, or use operator: Exists"]),
    ("a machine that is a cluster",
     {"groups/pifleet_clusters": {"hosts": {"farm-1": {}}}},
     ["hosts.farm-1: saw in pifleet_clusters and in pifleet_docker; leave it in one of them"]),
    ("a cluster's variable on a machine", {"host/pifleet_namespace": "pi"},
     ["hosts.farm-1.pifleet_namespace: saw a cluster; put farm-1 into pifleet_clusters, or remove it"]),
    ("one cluster twice", {"groups/pifleet_clusters": {"hosts": {"prod": {}, "again": {}}}},
     ["hosts.again: saw the same cluster and namespaces as prod; "
      "name another pifleet_kube_context or pifleet_namespace, or remove it"]),
    ("a model behind a proxy that wants a login",
     {**prod(), "models/claude/proxy": "http://proxy.lan:3128", "models/claude/proxy_auth": {"env": "LOGIN"},
      "developers/ana/model": "claude"},
     ['pifleet_developers.ana.sandboxes.main.model: saw "claude"; use a model without proxy_auth: '
      "in a cluster nobody is root to read that and go on as somebody else"]),
    ("what a cluster's own clients reach", {**prod(), "developers/ana/egress": ["pip"]},
     ["pifleet_developers.ana.sandboxes.main.egress: saw \"pip\"; name the hosts, or a set of pifleet_egress_sets: "
      "a cluster has no clients of its own to follow"]),
    ("a proxy on the way out of a cluster",
     {**prod(), "vars/pifleet_egress_proxy": "http://proxy.lan:3128", "developers/ana/egress": ["a.example.com"]},
     ["pifleet_developers.ana.sandboxes.main.egress: saw a list beside pifleet_egress_proxy; use []: in this version "
      "of pifleet no proxy stands on the way out of a cluster"]),
]


@pytest.mark.parametrize(("changes", "wanted"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_no_cluster_can_be_is_refused_with_its_place(
    tmp_path: Path, changes: dict[str, Any], wanted: list[str]
) -> None:
    with pytest.raises(BadInput) as raised:
        fleet(tmp_path, copy.deepcopy(changes))

    assert [str(mistake) for mistake in raised.value.mistakes] == wanted
