"""What a cluster has run out of, or never had: room in a workspace, an image, a StorageClass, a place for a pod. Each
is said in words, no work is lost, and the same command finishes the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.cluster_farm import ClusterFarm, holds
from tests.integration.farm import Done

NAMESPACE, POD = "small-ed", "pi-ed-main-0"
# Nobody serves it, and a name that is not of one content is refused before anything is asked for.
NOWHERE = f"localhost/nobody/made@sha256:{'0' * 64}"
FULL = "No space left on device"
PRECIOUS = "/workspace/precious"


@pytest.fixture
def small(small_pods: ClusterFarm) -> Iterator[ClusterFarm]:
    """The small fleet with work in it, which no test may lose; the same command mends whatever one leaves."""
    assert inside(small_pods, f"echo precious > {PRECIOUS}").code == 0
    yield small_pods
    small_pods.repaired()
    assert inside(small_pods, f"cat {PRECIOUS}").out == "precious\n"
    assert small_pods.plan().json["steps"] == []


def inside(farm: ClusterFarm, script: str) -> Done:
    return farm.pifleet("exec", "ed", "--", "sh", "-c", script)


def row(done: Done) -> dict[str, object]:
    """What became of the only sandbox."""
    [found] = [one for one in done.json["outcomes"] if one["sandbox"]]
    return found


@contextmanager
def full(farm: ClusterFarm, folder: str) -> Iterator[None]:
    """Nothing more fits into a volume while the block runs."""
    assert FULL in inside(farm, f"head -c 4G /dev/zero > {folder}/filling").err
    try:
        yield
    finally:
        assert inside(farm, f"rm {folder}/filling").code == 0


def test_a_workspace_that_is_full_takes_no_repository_and_says_so(small: ClusterFarm) -> None:
    assert inside(small, "rm -r /workspace/web").code == 0
    with full(small, "/workspace"):
        during = small.provision()
    assert (during.code, row(during)["result"]) == (1, "failed")
    assert FULL in during.out
    assert "Traceback" not in during.out + during.err


def test_a_workspace_that_is_full_comes_home_and_takes_nothing_in(small: ClusterFarm, tmp_path: Path) -> None:
    (tmp_path / "more").write_bytes(b"x" * 100_000)
    with full(small, "/workspace"):
        put = small.pifleet("put", "ed", str(tmp_path / "more"))
        pulled = small.pifleet("pull", "ed", "-o", "json")
        run = small.pifleet("run", "ed", "-p", "SAY there is no room")
        left = inside(small, "ls -A /workspace").out.split()
    assert put.code == 1
    assert FULL in put.out + put.err
    assert sorted(left) == ["filling", "precious", "web"]
    [pull] = pulled.json["pulls"]
    assert (pulled.code, pull["incomplete"]) == (0, [])
    assert "there is no room" in run.out
    assert (small.results / "ed" / "main" / "workspace" / "precious").read_text() == "precious\n"


def test_an_image_that_is_not_there_is_said_in_the_clusters_words(small: ClusterFarm) -> None:
    wrong = replace(small, variables={**small.variables, "pifleet_cluster_image": NOWHERE})
    during = wrong.provision()
    assert (during.code, row(during)["result"]) == (1, "failed")
    assert "ErrImagePull" in during.out or "ImagePullBackOff" in during.out
    assert "localhost/nobody/made" in during.out


def test_a_storage_class_that_is_not_there_is_said_before_anything_is_changed(small: ClusterFarm) -> None:
    wrong = replace(small, variables={**small.variables, "pifleet_storage_class": "nowhere"})
    during = wrong.provision()
    assert during.code == 1
    assert "nowhere; the cluster has fake, lab" in during.out
    assert "correct pifleet_storage_class" in during.out
    assert small.plan().json["steps"] == []


def test_users_of_their_own_that_no_node_serves_are_said_before_anything_is_changed(small: ClusterFarm) -> None:
    during = replace(small, variables={**small.variables, "pifleet_user_namespaces": True}).provision()
    assert during.code == 1
    assert "remove pifleet_user_namespaces: not every node of these pods says" in " ".join(during.out.split())
    assert small.plan().json["steps"] == []


def test_a_pod_that_is_evicted_in_a_run_comes_back_with_its_work(small: ClusterFarm) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": POD, "namespace": NAMESPACE}}
    script = 'CALL bash {"command": "echo begun > /workspace/begun; sleep 600"}'
    at = f"/api/v1/namespaces/{NAMESPACE}/pods/{POD}/eviction"
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(small.pifleet, "run", "ed", "-p", script)
        holds(lambda: inside(small, "cat /workspace/begun").out == "begun\n")
        small.kubectl("create", "--raw", at, "-f", "-", text=json.dumps(eviction))
        during = run.result()
    assert during.code == 1, during.out + during.err
    assert "Traceback" not in during.out + during.err
    small.repaired()
    assert inside(small, "cat /workspace/begun").out == "begun\n"
