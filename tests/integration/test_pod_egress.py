"""What a pod reaches through its egress proxy: what its own list says, and nothing of another's or private."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.integration.cluster_farm import FLEET, ClusterFarm
from tests.lab.cluster import Cluster
from tests.lab.cluster.images import IMAGE as BUSYBOX

PORT, OTHER_PORT, WORD = 8000, 8001, "the listed one answers"
METADATA, API = "169.254.169.254", "198.18.96.1"
ASK = """
import http.client, sys
c = http.client.HTTPConnection("127.0.0.1", 8101, timeout=30)
c.set_tunnel(sys.argv[1], int(sys.argv[2]))
c.request("GET", "/")
print(c.getresponse().read().decode())
"""
STRAIGHT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"


@dataclass
class Reach:
    """The farm, in which ana alone may reach `address` on PORT; something else listens there on OTHER_PORT."""

    pods: ClusterFarm
    address: str

    def listed(self, *entries: Any) -> ClusterFarm:
        """The farm with this list of ana's."""
        ana = {"repos": ["api"], "egress": list(entries)}
        return replace(self.pods, overlay={**self.pods.overlay, "pifleet_developers": {
            "ana": ana, "bo": {"repos": ["api"]}}})

    @property
    def farm(self) -> ClusterFarm:
        return self.listed({"to": f"{self.address}:{PORT}", "private": True})

    def python(self, name: str, script: str, host: str, port: int) -> tuple[int, str]:
        done = self.farm.pifleet("exec", name, "--", "python3", "-c", script, host, str(port))
        return done.code, done.out + done.err


@pytest.fixture(scope="module")
def reach(bare_pods: ClusterFarm, cluster: Cluster) -> Iterator[Reach]:
    """On a cluster that keeps its policies: without these the proxy is one way of many."""
    place = f"outside-{uuid.uuid4().hex[:8]}"
    serve = f"mkdir /tmp/www; echo {WORD} > /tmp/www/index.html; httpd -p {OTHER_PORT} -h /tmp/www; " \
            f"httpd -f -p {PORT} -h /tmp/www"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server", "namespace": place}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "server", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", serve]}]}}
    bare_pods.kubectl("create", "namespace", place)
    bare_pods.kubectl("apply", "-f", "-", text=json.dumps(pod))
    bare_pods.kubectl("wait", "--for=condition=Ready", f"--namespace={place}", "pod/server", "--timeout=60s")
    address = bare_pods.kubectl("get", "pod", "server", f"--namespace={place}", "--output=jsonpath={.status.podIP}")
    cluster.enforce_policies()
    made = Reach(bare_pods, address)
    made.farm.repaired()
    yield made
    cluster.ignore_policies()
    bare_pods.kubectl("delete", "namespace", place, "--wait=false")


def test_the_listed_one_is_reached_through_the_proxy_and_no_other_way(reach: Reach) -> None:
    assert reach.python("ana", ASK, reach.address, PORT) == (0, f"{WORD}\n\n")
    assert reach.python("ana", STRAIGHT, reach.address, PORT)[0] == 1


@pytest.mark.parametrize(("name", "host", "port"), [
    ("bo", "", PORT), ("ana", "", OTHER_PORT), ("ana", METADATA, PORT), ("ana", API, 443), ("ana", "127.0.0.1", PORT),
    ("ana", "198.51.100.7", PORT),
], ids=["another's", "another port", "metadata", "the API server", "the proxy's own pod", "a public address"])
def test_what_is_not_listed_is_refused_by_the_proxy(reach: Reach, name: str, host: str, port: int) -> None:
    code, said = reach.python(name, ASK, host or reach.address, port)

    assert (code, "403" in said) == (1, True), said


def test_the_proxys_own_pod_gets_no_further_than_the_lists(reach: Reach) -> None:
    inside = ("exec", f"--namespace={FLEET}-pifleet", "deployment/egress", "--container=squid", "--", "python3", "-c",
              STRAIGHT, reach.address)
    assert "Error" not in reach.pods.kubectl(*inside, str(PORT))
    for host, port in ((reach.address, OTHER_PORT), (API, 443)):
        assert "timed out" in reach.pods.kubectl(*inside[:-1], host, str(port), check=False)


def test_nothing_differs_and_verify_proves_it(reach: Reach) -> None:
    assert reach.farm.plan().json["steps"] == []

    [found] = reach.farm.pifleet("verify", "ana", "-o", "json").json["sandboxes"]
    rows = {row["check"]: row for row in found["checks"]}
    assert rows["allowed"]["verdict"] == "pass", rows["allowed"]
    assert {name for name, row in rows.items() if row["verdict"] == "fail"} == set()


def test_what_was_refused_is_told_with_the_entry_that_would_allow_it(reach: Reach) -> None:
    reach.python("bo", ASK, reach.address, PORT)

    asked = reach.farm.pifleet("logs", "bo", "--egress", "-o", "json").json["egress"]

    [refused] = [one for one in asked if (one["name"], one["port"]) == (reach.address, PORT)]
    assert (refused["verdict"], refused["entry"]) == (
        "refused", f'{{to: "{reach.address}:{PORT}", private: true}}')


def test_another_list_holds_without_another_pod(reach: Reach) -> None:
    uid = ("get", "pod", "pi-ana-main-0", f"--namespace={FLEET}-ana", "--output=jsonpath={.metadata.uid}")
    before = reach.pods.kubectl(*uid)
    shut = reach.listed()

    done = shut.provision()

    assert done.code == 0, done.out + done.err
    assert "403" in reach.python("ana", ASK, reach.address, PORT)[1]
    assert reach.pods.kubectl(*uid) == before
    reach.farm.repaired()
    assert reach.python("ana", ASK, reach.address, PORT)[0] == 0
