"""The lab's cluster in trouble: a row says what was seen, nothing is lost, and the same command finishes the rest."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.cluster_farm import ClusterFarm, holds, repository
from tests.lab.cluster import Cluster
from tests.lab.cluster.refuser import SAID

pytestmark = pytest.mark.skipif(
    "PIFLEET_TEST_KUBECONFIG" in os.environ, reason="breaks parts of a cluster, which must be the lab's own")
SANDBOX = "pi-cy-main"


@pytest.fixture
def something_to_do(pods: ClusterFarm) -> Iterator[ClusterFarm]:
    """A StatefulSet is missing, whose volumes are there and hold work."""
    pods.repaired()
    assert pods.pifleet("exec", "cy", "--", "sh", "-c", "echo precious > /workspace/web/precious").code == 0
    pods.kubectl("delete", "statefulset", "-n", "acme-cy", SANDBOX)
    yield pods
    pods.repaired()
    assert pods.pifleet("exec", "cy", "--", "cat", "/workspace/web/precious").out == "precious\n"


def inside(farm: ClusterFarm, developer: str, path: str) -> bool:
    """Whether something is in a sandbox, by no way of pifleet's."""
    pod = ("-n", f"acme-{developer}", f"pi-{developer}-main-0", "-c", "pi")
    return farm.kubectl("exec", *pod, "--", "test", "-e", path, check=False) == ""


def size(folder: Path) -> int:
    """Bytes of a folder in which files come and go; 0 where it is not there yet."""
    return int((subprocess.run(["du", "-sb", folder], stdout=subprocess.PIPE).stdout or b"0").split()[0])


def grows(folder: Path, count: int) -> None:
    """Wait until a folder has so many bytes more. Looked at often: a quick machine brings 100 MB in a second or two."""
    end, before = time.monotonic() + 90, size(folder)
    while size(folder) < before + count:
        assert time.monotonic() < end, f"{count} bytes did not arrive within 90 s"
        time.sleep(0.02)


@contextmanager
def restarted(cluster: Cluster, when: Callable[[], object]) -> Iterator[None]:
    """The API server crashes when this returns, and comes back."""

    def crash() -> None:
        when()
        cluster.stop_api()
        time.sleep(3)
        cluster.start_api()

    thread = threading.Thread(target=crash)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_an_api_server_that_is_gone_is_a_row(pods: ClusterFarm, cluster: Cluster) -> None:
    pods.repaired()
    cluster.stop_api()
    try:
        done = pods.plan()
    finally:
        cluster.start_api()
    assert done.code == 1
    assert [row["host"] for row in done.json["unreachable"]] == ["prod"]
    assert all(done.json["unreachable"][0]["error"][part] for part in ("headline", "saw", "try"))


@pytest.mark.parametrize("after", [2, 5])
def test_an_api_server_that_restarts_in_a_provision_loses_nothing(
    something_to_do: ClusterFarm, cluster: Cluster, after: float
) -> None:
    with restarted(cluster, lambda: time.sleep(after)):
        during = something_to_do.provision()
    assert during.code in (0, 1), during.out + during.err
    assert "Traceback" not in during.err
    rest = something_to_do.provision()
    assert rest.code == 0, rest.out + rest.err
    assert something_to_do.plan().json["steps"] == []


def test_an_api_server_that_restarts_in_a_run_leaves_pi_at_work(pods: ClusterFarm, cluster: Cluster) -> None:
    pods.repaired()
    script = 'CALL bash {"command": "touch /workspace/began; sleep 20; touch /workspace/ended; echo still here"}'
    with restarted(cluster, lambda: holds(lambda: inside(pods, "ana", "/workspace/began"))):
        during = pods.pifleet("run", "ana", "-p", f"{script}\nSAY {{last_result}}")
    assert "Traceback" not in during.err
    holds(lambda: inside(pods, "ana", "/workspace/ended"))
    holds(lambda: "still here" in pods.pifleet("logs", "ana").out)


def test_a_repository_on_its_way_in_gets_there_although_the_api_server_restarts(
    pods: ClusterFarm, cluster: Cluster, tmp_path: Path
) -> None:
    repository(tmp_path, "web", megabytes=100)
    large = replace(pods, overlay={**pods.overlay, "repos_at": str(tmp_path)})
    assert pods.pifleet("exec", "cy", "--", "rm", "-rf", "/workspace/web").code == 0
    holds(lambda: large.plan("--developer", "cy").json["steps"] != [])  # the kubelet looks every few seconds
    with restarted(cluster, lambda: holds(lambda: inside(pods, "cy", "/workspace/.coming.web/it"))):
        during = large.provision("--developer", "cy")
    assert during.code == 0, during.out + during.err
    assert pods.pifleet("exec", "cy", "--", "git", "-C", "/workspace/web", "fsck", "--full").code == 0
    assert pods.pifleet("exec", "cy", "--", "rm", "-rf", "/workspace/web").code == 0
    pods.repaired()


def test_a_pull_of_100_megabytes_goes_on_after_a_restart_of_the_api_server(
    pods: ClusterFarm, cluster: Cluster
) -> None:
    pods.repaired()
    made = pods.pifleet("exec", "bo", "--", "sh", "-c", "head -c 100M /dev/urandom > api/large; sha256sum api/large")
    wanted = made.out.split()[0]
    with restarted(cluster, lambda: grows(pods.results, 10 << 20)):
        during = pods.pifleet("pull", "bo", "-o", "json")
    assert "Traceback" not in during.err
    [cut] = during.json["pulls"]
    assert (during.code, cut["result"]) == (1, "failed"), during.out + during.err
    again = pods.pifleet("pull", "bo", "-o", "json")
    assert (again.code, again.json["pulls"][0]["incomplete"]) == (0, [])
    with (pods.results / "bo" / "main" / "api" / "large").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == wanted
    assert pods.pifleet("exec", "bo", "--", "rm", "api/large").code == 0


def test_what_a_webhook_refuses_is_said_in_its_words(something_to_do: ClusterFarm, cluster: Cluster) -> None:
    cluster.refuse(apiGroups=["apps"], resources=["statefulsets"])
    try:
        during = something_to_do.provision()
    finally:
        cluster.accept()
    rows = {row["sandbox"]: row["result"] for row in during.json["outcomes"] if row["sandbox"]}
    assert (during.code, rows["cy/main"], rows["ana/main"]) == (1, "failed", "ok")
    assert SAID in during.out


def test_a_node_without_its_kubelet_is_said_and_its_work_is_there_afterwards(
    pods: ClusterFarm, cluster: Cluster
) -> None:
    pods.repaired()
    cluster.stop_kubelet()
    try:
        done = pods.pifleet("exec", "ana", "--", "true")
    finally:
        cluster.start_kubelet()
    assert done.code == 255
    assert "Traceback" not in done.err
    assert pods.provision().code == 0
    assert pods.pifleet("exec", "ana", "--", "git", "-C", "/workspace/api", "status", "--short").code == 0


def test_a_quota_that_is_full_is_said_in_the_clusters_words(pods: ClusterFarm) -> None:
    pods.repaired()
    space = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "in-the-way"}, "spec": space}
    there = ("-n", "acme-cy")
    pods.kubectl(*there, "delete", "statefulset", "pi-cy-main")
    pods.kubectl(*there, "delete", "pvc", "workspace-pi-cy-main-0")
    pods.kubectl(*there, "apply", "-f", "-", text=json.dumps(claim))
    during = pods.provision()
    pods.kubectl(*there, "delete", "pvc", "in-the-way")
    rows = {row["sandbox"]: row["result"] for row in during.json["outcomes"] if row["sandbox"]}
    assert (during.code, rows["cy/main"], rows["ana/main"]) == (1, "failed", "ok")
    assert "exceeded quota" in during.out
    pods.repaired()
