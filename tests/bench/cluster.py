"""Owns what many sandboxes of a cluster cost beside the same objects applied by Kubernetes' own Python client, on nodes
that only say that pods run. It must not know how either of them gets an object there."""

from __future__ import annotations

import base64
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pifleet.desired import host_spec
from pifleet.inventory import load
from pifleet.look import look
from pifleet.patterns.pod.objects import resolved
from pifleet.provision import apply
from tests.bench.commands import PIFLEET, cpu_seconds
from tests.bench.place import Failed
from tests.bench.table import Row, ratio, worst
from tests.lab.cluster import Cluster

LAB, HOST = os.environ.get("PIFLEET_LAB", "bench"), "prod"
PEOPLE, BOXES_EACH, NODES = 50, 10, 20
# As many connections as pifleet opens to change a cluster.
AT_ONCE = 8
RUNS, PLANS, PAUSE = 2, 3, 1.0
BARE_BAR, PLAN_BAR = 1.5, 3.0
COUNT = PEOPLE * BOXES_EACH
Entry = dict[str, Any]


def cases(folder: Path) -> dict[str, Callable[[], Iterator[Row]]]:
    return {"cluster": lambda: _measured(folder)}


def _measured(folder: Path) -> Iterator[Row]:
    with _cluster() as kubeconfig:
        pairs = [(_ours(kubeconfig, folder, f"ours-{run}"), _theirs(kubeconfig, folder, f"bare-{run}"))
                 for run in range(RUNS)]
        yield ratio(f"{COUNT} sandboxes come to run: bare client", "s", pairs, BARE_BAR)
        plan = [PIFLEET, "plan", str(_inventory(kubeconfig, folder, "ours-0"))]
        yield worst("plan of them, unchanged: CPU", "s", [cpu_seconds(plan) for _ in range(PLANS)], PLAN_BAR)


@contextmanager
def _cluster() -> Iterator[Path]:
    cluster = Cluster(f"{LAB}-bench")
    cluster.up(node=False, owned=True)
    try:
        cluster.add_fakes(NODES)
        yield cluster.kubeconfig
    finally:
        cluster.down()


def _inventory(kubeconfig: Path, folder: Path, name: str) -> Path:
    """A fleet of this name, whose sandboxes need nothing that is not there: no repositories, a scripted model."""
    boxes = {"sandboxes": {f"box-{number}": {} for number in range(BOXES_EACH)}}
    host = {"pifleet_kubeconfig": str(kubeconfig), "pifleet_namespace": name, "pifleet_storage_class": "fake",
            "pifleet_node_selector": {"pifleet.lab": "fake"},
            "pifleet_tolerations": [{"key": "pifleet.lab", "operator": "Exists"}]}
    fleet = {"pifleet_fleet": name, "pifleet_defaults": {"pattern": "pod", "model": "dry", "memory": "1g"},
             "pifleet_models": {"dry": {"api": "scripted"}},
             "pifleet_developers": {f"dev{number}": boxes for number in range(PEOPLE)}}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"all": {"vars": fleet, "children": {"pifleet_clusters": {"hosts": {HOST: host}}}}}))
    return path


def _ours(kubeconfig: Path, folder: Path, name: str) -> float:
    """Seconds of a provision without its proof from inside, which such pods cannot give."""
    source = _inventory(kubeconfig, folder, name)
    started = time.monotonic()
    outcomes = apply(look(load([source]))).outcomes
    seconds = time.monotonic() - started
    if wrong := [row for row in outcomes if row.result != "changed"]:
        raise Failed(f"{len(wrong)} rows are not changed, as {wrong[0]}")
    return seconds


def _theirs(kubeconfig: Path, folder: Path, name: str) -> float:
    """Seconds of the same objects, each applied once, until all pods run."""
    from kubernetes import client, config, dynamic

    fleet = load([_inventory(kubeconfig, folder, name)])
    entries = host_spec(fleet, HOST, fleet.sandboxes, folder)["cluster"]["objects"]
    configuration = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    configuration.connection_pool_maxsize = AT_ONCE
    started = time.monotonic()
    with client.ApiClient(configuration) as connected:
        bare = dynamic.DynamicClient(connected)
        for groups in _groups(entries):
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(partial(_applied, bare), groups))
        pods = bare.resources.get(api_version="v1", kind="Pod")
        ours = {"label_selector": f"pifleet.io/fleet={name}", "field_selector": "status.phase=Running"}
        while len(pods.get(**ours).items) <= COUNT:  # the gateway's is one more
            time.sleep(PAUSE)
    return time.monotonic() - started


def _groups(entries: Sequence[Entry]) -> Iterator[list[list[Entry]]]:
    """What may be made side by side, each in its order: namespaces, then what is in each, then every sandbox."""
    places: dict[str, list[Entry]] = {}
    boxes: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry["sandbox"]:
            boxes.setdefault(entry["sandbox"], []).append(entry)
        else:
            metadata = entry["object"]["metadata"]
            places.setdefault(metadata.get("namespace", metadata["name"]), []).append(entry)
    yield list(places.values())
    yield list(boxes.values())


def _applied(bare: Any, entries: Sequence[Entry]) -> None:
    for entry in entries:
        wanted = resolved(entry["object"], ANYTHING)
        if wanted["kind"] == "Secret":
            value = base64.b64encode(os.urandom(32)).decode()
            wanted = {**wanted, "data": dict.fromkeys(entry["values"], value)}
        kind = bare.resources.get(api_version=wanted["apiVersion"], kind=wanted["kind"])
        kind.server_side_apply(wanted, wanted["metadata"]["name"], wanted["metadata"].get("namespace"),
                               field_manager="bare", force_conflicts=True)


class _Anything:
    """What of the cluster a manifest asks: an address of each Service and a version, which no pod here ever uses."""

    def get(self, key: str) -> Entry:
        high, low = divmod(zlib.crc32(key.encode()) % 0xFFFF, 256)
        return {"spec": {"clusterIP": f"198.18.{high}.{low}"}, "metadata": {"resourceVersion": "1"}}


ANYTHING = _Anything()
