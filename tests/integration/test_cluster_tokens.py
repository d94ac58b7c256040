"""Tokens that expire while they are used, the operator's and a developer's: it is said, and a new one goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pifleet.fleet import DEVELOPER_ACCOUNT
from tests.integration.cluster_farm import ClusterFarm, holds
from tests.lab.cluster import Cluster

pytestmark = pytest.mark.skipif(
    "PIFLEET_TEST_KUBECONFIG" in os.environ, reason="signs tokens, for which the cluster must be the lab's own")
OPERATOR = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator", "namespace": "default"}},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "operator"},
     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
     "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": "default"}]},
]
INSIDE, NODES = ("-n", "small-ed"), "--selector=kubernetes.io/hostname"
# An API server remembers for so long whom it has let in.
REMEMBERED = 10
# Longer than pifleet needs to begin a command, on a busy machine too.
SECONDS = 30


@pytest.fixture
def operator(small_pods: ClusterFarm) -> Iterator[ClusterFarm]:
    for one in OPERATOR:
        small_pods.kubectl("apply", "-f", "-", text=json.dumps(one))
    yield small_pods
    small_pods.repaired()


def with_kubeconfig(farm: ClusterFarm, file: Path, text: str) -> ClusterFarm:
    file.touch(mode=0o600)
    file.write_text(text)
    return replace(farm, overlay={**farm.overlay, "cluster_kubeconfig": str(file)})


def test_an_operators_token_that_expires_in_a_provision_is_said_and_a_new_one_finishes(
    operator: ClusterFarm, cluster: Cluster, tmp_path: Path
) -> None:
    operator.kubectl(*INSIDE, "delete", "statefulset", "pi-ed-main")
    operator.kubectl(*INSIDE, "delete", "pvc", "--all")
    file = tmp_path / "kubeconfig"
    own = with_kubeconfig(operator, file, cluster.short_lived("default", "operator", SECONDS))
    operator.kubectl("cordon", NODES)
    try:
        during = own.provision()  # the pod finds no place, and is waited for until the token has expired
    finally:
        operator.kubectl("uncordon", NODES)
    assert during.code == 1, during.out + during.err
    assert "its API server does not take our credentials" in during.out
    assert "its token expired at" in during.out
    assert "renew the kubeconfig" in during.out
    assert "Traceback" not in during.err
    renewed = with_kubeconfig(own, file, cluster.short_lived("default", "operator", 600))
    # The first could not give back its claim on the cluster, which is anybody's after half a minute.
    holds(lambda: renewed.provision().code == 0)
    assert renewed.plan().json["steps"] == []


def test_a_developers_token_that_expires_in_a_command_lets_it_end_and_refuses_the_next(
    small_pods: ClusterFarm, cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    own = with_kubeconfig(small_pods, file, cluster.short_lived("small-ed", DEVELOPER_ACCOUNT, SECONDS))
    long = own.pifleet("exec", "ed", "--", "sh", "-c", f"sleep {SECONDS + REMEMBERED}; echo to the end")
    assert (long.code, long.out) == (0, "to the end\n")
    refused = own.pifleet("pull", "ed")
    assert refused.code == 1
    assert "its token expired at" in refused.out + refused.err
    renewed = with_kubeconfig(own, file, cluster.short_lived("small-ed", DEVELOPER_ACCOUNT, 600))
    assert renewed.pifleet("pull", "ed").code == 0
