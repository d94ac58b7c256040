"""What a process in a pod tries to get out of it is refused; without an enforcer of policies its network is open, as
the same attempts show, and pifleet says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pifleet.sandbox.inside import ARGV, call
from pifleet.verify.found import EVERYTHING, SOCKETS
from tests.integration.cluster_farm import ClusterFarm
from tests.integration.test_escape import LISTENERS
from tests.lab.cluster import Cluster
from tests.lab.cluster.control import API_SERVICE, NODE_ADDRESS, PORT

METADATA, NAMESERVER, ROUTER = "169.254.169.254", "198.41.0.4", "192.168.0.1"
OUTSIDE = (METADATA, NAMESERVER, ROUTER)
NEAR = [
    ("the API server's service", API_SERVICE, 443), ("the API server", NODE_ADDRESS, PORT),
    ("the kubelet", NODE_ADDRESS, 10250), ("metadata", METADATA, 80), ("a router", ROUTER, 80),
    ("a name server", NAMESERVER, 53),
]
STRAIGHT = [*(f"tcp to {name}" for name, _, _ in NEAR), "dns by udp"]
# They go onto the pod's own wire, and who hears them is the network's matter: `verify` says it of every pod.
UNANSWERED = {"multicast", "broadcast"}

Said = dict[str, dict[str, Any]]


@dataclass
class Tried:
    """How each attempt ended in ana's pod with an enforcer and without, and what `verify` said without."""

    kept: Said
    open: Said
    proof: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def outside(pods: ClusterFarm, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster with what lies around a real one: somebody listens at each of these addresses."""
    program = tmp_path_factory.mktemp("outside") / "listeners"
    program.write_text(LISTENERS)
    doors = [f"tcp/{METADATA}/80", f"tcp/{NAMESERVER}/53", f"udp/{NAMESERVER}", f"tcp/{ROUTER}/80"]
    try:
        for address in OUTSIDE:
            cluster.place.run("ip", "address", "replace", f"{address}/32", "dev", "lo")
        cluster.place.start("listeners", [sys.executable, program, *doors])
        yield cluster
    finally:
        # With anything of this left, every later proof of a pod's network would fail, and rightly.
        cluster.ignore_policies()
        cluster.place.stop("listeners")
        for address in OUTSIDE:
            cluster.place.run("ip", "address", "delete", f"{address}/32", "dev", "lo")


@pytest.fixture(scope="module")
def tried(pods: ClusterFarm, outside: Cluster) -> Tried:
    request = call("escape", {"tcp": NEAR, "proxied": NEAR, "proxy": ("127.0.0.1", 8101), "own": SOCKETS,
                              "names": ["kubernetes.default.svc"], "kinds": EVERYTHING}).decode()

    def attempts() -> Said:
        found: Said = json.loads(pods.pifleet("exec", "ana", "--", *ARGV, stdin=request).out)["attempts"]
        return found

    outside.ignore_policies()
    straight = attempts()
    [said] = pods.pifleet("verify", "ana", "-o", "json").json["sandboxes"]
    outside.enforce_policies()
    outside.until("the policies", lambda: attempts()["tcp to the kubelet"]["refused"])
    return Tried(attempts(), straight, {row["check"]: row for row in said["checks"]})


def test_nothing_that_is_tried_gets_out_of_a_pod(tried: Tried) -> None:
    out = {name: row["how"] for name, row in tried.kept.items() if not row["refused"]}

    assert set(out) <= UNANSWERED, out
    assert len(tried.kept) > 75


def test_without_an_enforcer_the_same_pod_reaches_what_the_network_has(tried: Tried) -> None:
    assert {name: tried.open[name]["refused"] for name in STRAIGHT} == dict.fromkeys(STRAIGHT, False)
    # What is no matter of the network is refused all the same, and so is all that would go through the proxy.
    out = {name for name, row in tried.open.items() if not row["refused"]}
    assert out <= {*STRAIGHT, *UNANSWERED}


def test_without_an_enforcer_verify_says_that_the_network_is_open(tried: Tried) -> None:
    network = tried.proof["network"]

    assert (network["verdict"], "nothing in this cluster enforces" in network["text"]) == ("warn", True), network


def test_without_a_known_enforcer_a_plan_says_it_and_so_does_doctor(pods: ClusterFarm) -> None:
    pods.kubectl("scale", "statefulset/pi-di-main", "--namespace=acme-di", "--replicas=0")

    planned = pods.plan().json["notes"]
    printed = pods.pifleet("plan").out
    asked = pods.pifleet("doctor", "-o", "json").json["checks"]

    pods.repaired()
    for rows in (planned, asked):
        [said] = [row["text"] for row in rows if row["check"] == "network policies"]
        assert "no network plugin is known here that enforces them" in said
    assert "no network plugin is known here that enforces them" in " ".join(printed.split())
