"""Nodes on which nothing runs: pods that the scheduler gives them are said to be Running, and go when they are deleted.

Owns what a kubelet would report; must not know why there are so many.
"""

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.lab.cluster.api import API_ERRORS, Api, ApiError

NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
KEY = "pifleet.lab"
ROOM = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "250"}
# Given up by the lab's own network, so that no real pod has such an address.
ADDRESSES = "198.19.{}.{}"
BEAT_SECONDS = 10.0
WORKERS = 8


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node(name: str) -> dict[str, Any]:
    """A node that only pods with a toleration of `pifleet.lab` are given."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", KEY: "fake"}
    taint = {"key": KEY, "value": "fake", "effect": "NoSchedule"}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [taint]}}


def beat() -> dict[str, Any]:
    """What keeps a node Ready."""
    times = {"lastHeartbeatTime": now(), "lastTransitionTime": now()}
    ready = {"type": "Ready", "status": "True", "reason": "Fake", **times}
    return {"status": {"capacity": ROOM, "allocatable": ROOM, "conditions": [ready]}}


def running(pod: dict[str, Any], address: str) -> dict[str, Any]:
    """The status of a pod all of whose containers have just become ready."""
    since = now()
    said = [
        {
            "name": container["name"], "image": container["image"], "imageID": container["image"],
            "containerID": f"fake://{pod['metadata']['uid']}/{container['name']}", "ready": True, "started": True,
            "restartCount": 0, "state": {"running": {"startedAt": since}},
        }
        for container in pod["spec"]["containers"]
    ]
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": since}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    return {"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": since,
        "containerStatuses": said, "conditions": conditions,
    }}


class Fakes:
    """Some nodes' kubelets, all in one process."""

    def __init__(self, api: Api, count: int) -> None:
        self.api = api
        self.names = [f"fake-{number}" for number in range(count)]
        self.addresses: Iterator[int] = itertools.count(1)
        self.taken: set[str] = set()

    def join(self) -> None:
        """Have the nodes, and keep them Ready."""
        for name in self.names:
            with contextlib.suppress(ApiError):
                self.api.call("POST", NODES, node(name))
        while True:
            for name in self.names:
                with contextlib.suppress(*API_ERRORS):
                    self.api.call("PATCH", f"{NODES}/{name}/status", beat())
            time.sleep(BEAT_SECONDS)

    def serve(self) -> None:
        """Do for every pod on these nodes what its state asks for."""
        own = set(self.names)
        with ThreadPoolExecutor(WORKERS) as pool:
            for event in self.api.watch(PODS):
                seen = [event["object"]] if event else self.api.items(PODS)
                for pod in seen:
                    if pod["spec"].get("nodeName") in own:
                        pool.submit(self.handle, pod)

    def handle(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        try:
            if metadata.get("deletionTimestamp"):
                only = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
                self.api.call("DELETE", path, only)
            elif pod["status"].get("phase") == "Pending" and metadata["uid"] not in self.taken:
                self.taken.add(metadata["uid"])
                number = next(self.addresses)
                address = ADDRESSES.format(number // 250 % 250, number % 250 + 1)
                self.api.call("PATCH", f"{path}/status", running(pod, address))
        except ApiError as error:
            if error.status not in (404, 409):
                print("fakes:", error, file=sys.stderr, flush=True)
        except API_ERRORS as error:
            self.taken.discard(metadata["uid"])
            print("fakes:", error, file=sys.stderr, flush=True)


def main(folder: Path, count: int) -> None:
    fakes = Fakes(Api(folder / "lab.kubeconfig"), count)
    threading.Thread(target=fakes.join, daemon=True).start()
    fakes.serve()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
