"""The lab's cluster itself: what the other tests believe about its pods, volumes, Services and trouble is true."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster import Cluster
from tests.lab.cluster.api import API_ERRORS, ApiError
from tests.lab.cluster.images import IMAGE
from tests.lab.cluster.place import ROOT, started_at

RESTRICTED = {
    "allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
SERVE = "mkdir /tmp/web && echo hello > /tmp/web/index.html && exec httpd -f -p 8080 -h /tmp/web"


class Space:
    """A namespace of one test's own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.name = cluster, f"t-{uuid.uuid4().hex[:8]}"
        self.create("namespaces", self.name, {}, at="/api/v1/namespaces")

    def at(self, kind: str) -> str:
        group = {"networkpolicies": "apis/networking.k8s.io/v1"}.get(kind, "api/v1")
        return f"/{group}/namespaces/{self.name}/{kind}"

    def create(self, kind: str, name: str, spec: dict[str, Any], at: str = "", **metadata: Any) -> dict[str, Any]:
        body = {"metadata": {"name": name, **metadata}, "spec": spec}
        return dict(self.cluster.api("POST", at or self.at(kind), body))

    def pod(self, name: str, script: str = "exec sleep 3600", **spec: Any) -> None:
        """A pod of the small image that runs this script, waited for until it is Ready."""
        container = {
            "name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script],
            "securityContext": RESTRICTED, "volumeMounts": spec.pop("mounts", []),
        }
        whole = {
            "containers": [container], "terminationGracePeriodSeconds": 0, "dnsPolicy": "Default",
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}, **spec,
        }
        self.create("pods", name, whole, labels={"app": name})
        holds(lambda: self.ready(name))

    def ready(self, name: str) -> bool:
        status = self.cluster.api("GET", f"{self.at('pods')}/{name}")["status"]
        return any(found["type"] == "Ready" and found["status"] == "True" for found in status.get("conditions", []))

    def inside(self, pod: str, *command: str) -> subprocess.CompletedProcess[str]:
        words = self.cluster.enter("kubectl", "exec", "-n", self.name, pod, "--", *command)
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def get(self, pod: str, host: str, port: int) -> str:
        """What a pod is answered over http there; empty where it is not."""
        ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} {port}"
        return self.inside(pod, "sh", "-c", ask).stdout.rpartition("\n\n")[2]


@pytest.fixture
def space(cluster: Cluster) -> Iterator[Space]:
    made = Space(cluster)
    yield made
    cluster.api("DELETE", f"/api/v1/namespaces/{made.name}")


def holds(asked: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not asked():
        assert time.monotonic() < end, f"did not come true within {seconds} s"
        time.sleep(0.1)


def test_a_restricted_pod_gets_ready_and_answers(space: Space) -> None:
    space.pod("one")
    done = space.inside("one", "sh", "-c", "id -u; exit 7")
    assert (done.returncode, done.stdout) == (7, "1000\n"), done.stderr


def test_a_claim_is_written_by_a_user_and_is_full_at_its_size(space: Space) -> None:
    space.create("persistentvolumeclaims", "work", {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}},
    })
    volume = {"name": "work", "persistentVolumeClaim": {"claimName": "work"}}
    space.pod("writer", volumes=[volume], mounts=[{"name": "work", "mountPath": "/workspace"}])
    fits = space.inside("writer", "dd", "if=/dev/zero", "of=/workspace/fits", "bs=1M", "count=12")
    assert fits.returncode == 0, fits.stderr
    too_much = space.inside("writer", "dd", "if=/dev/zero", "of=/workspace/more", "bs=1M", "count=12")
    assert "No space left" in too_much.stderr


def test_a_service_is_reached_from_another_pod_and_from_its_own(space: Space) -> None:
    space.pod("server", SERVE)
    space.pod("caller")
    ports = [{"port": 80, "targetPort": 8080}]
    address = space.create("services", "web", {"selector": {"app": "server"}, "ports": ports})["spec"]["clusterIP"]
    for pod in ("caller", "server"):
        holds(lambda pod=pod: space.get(pod, address, 80) == "hello\n")


def test_the_api_server_comes_back_after_a_crash_with_everything_in_it(cluster: Cluster, space: Space) -> None:
    space.pod("stays")
    cluster.stop_api()
    with pytest.raises(API_ERRORS):
        cluster.api("GET", "/readyz")
    cluster.start_api()
    assert space.ready("stays")
    assert space.inside("stays", "true").returncode == 0


def test_pods_outlive_a_kubelet_that_was_stopped(cluster: Cluster, space: Space) -> None:
    space.pod("stays")
    cluster.stop_kubelet()
    assert space.inside("stays", "true").returncode != 0
    cluster.start_kubelet()
    holds(lambda: space.inside("stays", "true").returncode == 0)
    status = cluster.api("GET", f"{space.at('pods')}/stays")["status"]
    assert [container["restartCount"] for container in status["containerStatuses"]] == [0]


def test_a_webhook_refuses_until_it_is_taken_away(cluster: Cluster, space: Space) -> None:
    cluster.refuse(apiGroups=[""], resources=["services"])
    wanted = {"selector": {"app": "none"}, "ports": [{"port": 80}]}
    try:
        with pytest.raises(ApiError, match="the lab's webhook refuses this"):
            space.create("services", "web", wanted)
    finally:
        cluster.accept()
    space.create("services", "web", wanted)


def test_the_audit_log_tells_who_wrote_what(cluster: Cluster, space: Space) -> None:
    space.create("configmaps", "noted", {})
    cluster.api("GET", f"{space.at('configmaps')}/noted")
    seen = [(found.verb, found.resource, found.writes) for found in cluster.requests() if found.name == "noted"]
    assert seen == [("create", "configmaps", True), ("get", "configmaps", False)]


def test_fake_nodes_run_pods_that_do_nothing_with_volumes_that_are_nowhere(cluster: Cluster, space: Space) -> None:
    cluster.add_fakes(2)
    for number in range(20):
        space.create("persistentvolumeclaims", f"work-{number}", {
            "storageClassName": "fake", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Ti"}},
        })
        volume = {"name": "work", "persistentVolumeClaim": {"claimName": f"work-{number}"}}
        tolerated = [{"key": "pifleet.lab", "operator": "Exists"}]
        space.pod(f"fake-{number}", nodeSelector={"pifleet.lab": "fake"}, tolerations=tolerated, volumes=[volume])
    for kind in ("pods", "persistentvolumeclaims"):
        cluster.api("DELETE", space.at(kind))
        holds(lambda kind=kind: not cluster.api("GET", space.at(kind))["items"])


def test_a_denied_way_is_closed_where_policies_are_enforced_and_opens_again(cluster: Cluster, space: Space) -> None:
    space.pod("server", SERVE)
    space.pod("caller")
    address = cluster.api("GET", f"{space.at('pods')}/server")["status"]["podIP"]
    space.create("networkpolicies", "deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
    holds(lambda: space.get("caller", address, 8080) == "hello\n")
    cluster.enforce_policies()
    holds(lambda: space.get("caller", address, 8080) == "")
    assert space.inside("caller", "true").returncode == 0
    to_server = {"podSelector": {"matchLabels": {"app": "server"}}}
    space.create("networkpolicies", "out", {
        "podSelector": {"matchLabels": {"app": "caller"}}, "policyTypes": ["Egress"], "egress": [{"to": [to_server]}],
    })
    space.create("networkpolicies", "in", {
        "podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": 8080}]}],
    })
    holds(lambda: space.get("caller", address, 8080) == "hello\n")
    cluster.api("DELETE", f"{space.at('networkpolicies')}/out")
    holds(lambda: space.get("caller", address, 8080) == "")
    cluster.ignore_policies()
    assert space.get("caller", address, 8080) == "hello\n"


def test_an_owned_cluster_ends_with_its_owner_however_that_ends(cluster: Cluster) -> None:
    name = f"{cluster.name}-own"
    script = f"from tests.lab.cluster import Cluster; Cluster({name!r}).up(node=False, owned=True); print(); input()"
    owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert owner.stdout
    owner.stdout.readline()
    owned = Cluster(name)
    assert owned.place.found("kube-apiserver")
    owner.kill()
    owner.wait()
    holds(lambda: not owned.place.inside())
    owned.down()


def test_a_cluster_without_a_node_is_enough_for_objects_and_leaves_nothing(cluster: Cluster) -> None:
    before = set(Path("/sys/fs/cgroup").glob("*/pifleet-*"))
    second = Cluster(f"{cluster.name}-2")
    second.up(node=False)
    assert second.api("GET", "/api/v1/nodes")["items"] == []
    processes = second.place.inside()
    second.down()
    assert not [pid for pid in processes if started_at(pid)]
    assert not second.folder.exists()
    assert set(Path("/sys/fs/cgroup").glob("*/pifleet-*")) == before
    assert str(second.folder) not in Path("/proc/self/mountinfo").read_text()
