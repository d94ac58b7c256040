"""What nodes say of themselves, as the API gives it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pifleet.fleet import Cluster, Host
from pifleet.kube.nodes import images, memory, user_namespaces

PROD = Host("prod", ("pifleet_clusters",), cluster=Cluster("acme"))
KATA = [{"metadata": {"name": "safe"}, "handler": "kata"}]


def node(*serving: str, pool: str = "agents", others: tuple[str, ...] = ()) -> dict[str, Any]:
    handlers = [{"name": name, "features": {"userNamespaces": name in serving}} for name in (*serving, *others)]
    return {"metadata": {"labels": {"pool": pool}},
            "status": {"allocatable": {"memory": "2048Ki"}, "runtimeHandlers": handlers}}


def test_memory_is_that_of_all_nodes_together() -> None:
    plain = {"status": {"allocatable": {"memory": "1000"}}}

    assert memory([node(), node(), plain]) == 2 * (2 << 20) + 1000


def test_images_have_each_of_their_names_once() -> None:
    there = [{"status": {"images": [{"names": ["b", "a@sha256:1"]}, {"sizeBytes": 1}]}}, {"status": {}},
             {"status": {"images": [{"names": ["b"]}]}}]

    assert images(there) == ["a@sha256:1", "b"]


def test_users_of_their_own_need_a_handler_that_serves_them_on_every_node() -> None:
    both, plain, none = node("", "kata"), node("", others=("kata",)), node()

    assert user_namespaces([both], PROD, KATA) == ["", "safe"]
    assert user_namespaces([both, plain], PROD, KATA) == [""]
    assert user_namespaces([both, none], PROD, KATA) == []


def test_nodes_on_which_no_pod_may_run_do_not_count() -> None:
    assert PROD.cluster
    chosen = replace(PROD, cluster=replace(PROD.cluster, node_selector={"pool": "agents"}))

    assert user_namespaces([node(""), node(pool="old")], chosen, []) == [""]
    assert user_namespaces([node("", pool="old")], chosen, []) == []


def test_where_no_node_may_be_seen_nothing_is_served() -> None:
    assert user_namespaces([], PROD, KATA) == []
