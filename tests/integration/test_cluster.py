"""The main job in a cluster: provisioned once, then changed by nobody, worked in, stopped and started."""

from __future__ import annotations

import json
import os

import pytest

from tests.integration.cluster_farm import DEVELOPERS, ClusterFarm
from tests.lab.cluster import Cluster

QUOTA = {
    "apiVersion": "v1", "kind": "Event", "metadata": {"name": "before", "namespace": "acme-di"}, "type": "Warning",
    "reason": "FailedCreate", "message": "create Pod pi-di-main-0 failed: exceeded quota",
    "involvedObject": {"apiVersion": "apps/v1", "kind": "StatefulSet", "namespace": "acme-di", "name": "pi-di-main"},
}


def test_a_bare_cluster_gets_a_sandbox_for_each_developer(bare_pods: ClusterFarm) -> None:
    done = bare_pods.provision()
    assert done.code == 0, done.out + done.err
    results = {row["sandbox"]: row["result"] for row in done.json["outcomes"] if row["sandbox"]}
    assert results == {f"{name}/main": "changed" for name in DEVELOPERS}


def test_the_plan_is_then_empty(pods: ClusterFarm) -> None:
    done = pods.plan()
    assert (done.code, done.json["steps"]) == (0, [])


@pytest.mark.skipif("PIFLEET_TEST_KUBECONFIG" in os.environ, reason="needs the audit log of the lab's own cluster")
def test_a_second_provision_writes_nothing(pods: ClusterFarm, request: pytest.FixtureRequest) -> None:
    cluster: Cluster = request.getfixturevalue("cluster")
    before = len(cluster.requests())
    assert pods.provision().code == 0
    seen = cluster.requests()[before:]
    assert [request for request in seen if request.verb == "list"], "the log must see the look"
    assert [request for request in seen if request.writes] == []


def test_pi_works_in_a_pod_and_its_work_comes_home(pods: ClusterFarm) -> None:
    done = pods.pifleet("run", "ana", "-p", "SAY the pod answers")
    assert done.code == 0, done.out + done.err
    assert "the pod answers" in done.out + done.err
    commit = "git -c user.name=a -c user.email=a@example.com commit -qam more"
    script = f"cd /workspace/api; echo more >> README; echo new > untracked; {commit}"
    assert pods.pifleet("exec", "ana", "--", "sh", "-c", script).code == 0
    [pull] = pods.pifleet("pull", "ana", "-o", "json").json["pulls"]
    assert (pull["result"], pull["incomplete"]) == ("new", [])
    home = pods.results / "ana" / "main" / "api"
    assert (home / "README").read_text() == "api\nmore\n"
    assert (home / "untracked").read_text() == "new\n"


def test_stopping_keeps_the_work_for_the_next_start(pods: ClusterFarm) -> None:
    pods.pifleet("exec", "di", "--", "sh", "-c", "echo kept > /workspace/web/kept")
    assert pods.pifleet("stop", "di").code == 0
    [box] = pods.pifleet("status", "di", "-o", "json").json["sandboxes"]
    assert box["state"] == "stopped"
    assert pods.pifleet("start", "di").code == 0
    assert pods.pifleet("exec", "di", "--", "cat", "/workspace/web/kept").out == "kept\n"


def test_one_that_was_stopped_is_not_missing_whatever_the_cluster_said_of_it_before(pods: ClusterFarm) -> None:
    pods.kubectl("create", "-f", "-", text=json.dumps(QUOTA))
    assert pods.pifleet("stop", "di").code == 0
    [box] = pods.pifleet("status", "di", "-o", "json").json["sandboxes"]
    assert pods.pifleet("start", "di").code == 0
    assert box["state"] == "stopped"
