"""A sandbox leaves a cluster: what was its own goes when its work is home, and nothing that may be another's."""

from __future__ import annotations

import json

from tests.integration.cluster_farm import FLEET, ClusterFarm

BO = f"{FLEET}-bo"
CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "of-another", "namespace": BO},
         "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}


def names(pods: ClusterFarm, kind: str) -> list[str]:
    listed = json.loads(pods.kubectl("-n", BO, "get", kind, "-o", "json"))
    return [one["metadata"]["name"] for one in listed["items"]]


def test_a_namespace_outlives_its_last_sandbox_as_long_as_a_volume_is_claimed_in_it(pods: ClusterFarm) -> None:
    pods.repaired()
    pods.kubectl("-n", BO, "delete", "resourcequota", "pifleet")  # it has room for bo's own volumes only
    pods.kubectl("apply", "-f", "-", text=json.dumps(CLAIM))
    done = pods.pifleet("remove", "bo", "--yes")
    assert done.code == 0, done.out + done.err
    assert names(pods, "statefulsets") == []
    assert names(pods, "persistentvolumeclaims") == ["of-another"]
    pods.kubectl("-n", BO, "delete", "pvc", "of-another")


def test_a_removed_sandbox_and_its_namespace_are_gone_and_its_work_is_home(pods: ClusterFarm) -> None:
    pods.repaired()
    pods.pifleet("exec", "bo", "--", "sh", "-c", "echo late > /workspace/api/late")
    done = pods.pifleet("remove", "bo", "--yes")
    assert done.code == 0, done.out + done.err
    assert "NotFound" in pods.kubectl("get", "namespace", BO, check=False)
    assert (pods.results / "bo" / "main" / "api" / "late").read_text() == "late\n"
