"""One inventory with an SSH host and a cluster: sandboxes with unfinished work become pods by a word, and come back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.integration.carried import EVERYTHING, NAMES, begin_work, carry_over_and_back
from tests.integration.cluster_farm import ClusterFarm
from tests.integration.farm import Farm
from tests.lab.farm import HOSTS, Lab
from tests.lab.fixtures import started

HOST, CLUSTER, FLEET = HOSTS[0], "prod", "both"


@dataclass
class Both(Farm):
    """A farm of one host and one cluster; `pods` knows the cluster's own way in."""

    pods: ClusterFarm | None = None

    @property
    def sources(self) -> list[str]:
        assert self.pods
        cluster = {"pifleet_kubeconfig": str(self.pods.kubeconfig), **self.pods.variables}
        groups = {"pifleet_docker": {"hosts": {HOST: {}}}, "pifleet_clusters": {"hosts": {CLUSTER: cluster}}}
        (self.folder / "addresses.yml").write_text(self.lab.inventory())
        (self.folder / "inventory.json").write_text(json.dumps({"all": {"vars": self.overlay, "children": groups}}))
        return [str(self.folder / "inventory.json"), str(self.folder / "addresses.yml")]

    def of(self, pattern: str) -> Both:
        """The same farm, in which the one word is this one."""
        defaults = {**self.overlay["pifleet_defaults"], "pattern": pattern}
        return replace(self, overlay={**self.overlay, "pifleet_defaults": defaults})

    def everything(self) -> dict[str, str]:
        return {name: self.pifleet("exec", name, "--", "sh", "-c", EVERYTHING).out for name in NAMES}

    def there(self) -> dict[str, int]:
        """How many sandboxes of each pattern are to be found, what they keep among it."""
        assert self.pods
        containers = self.docker(HOST, "ps", "-aq", "--filter", "label=io.pifleet.fleet").split()
        label = f"--selector=pifleet.io/fleet={FLEET}"
        claims = self.pods.kubectl("get", "pvc", "--all-namespaces", "--output=name", label, "--ignore-not-found")
        return {"docker": len(containers), "pod": len([line for line in claims.split() if "workspace-" in line])}


@pytest.fixture(scope="module")
def farm(bare_pods: ClusterFarm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    name = os.environ.get("PIFLEET_LAB", "both")
    lab = started(name, HOST)
    folder = tmp_path_factory.mktemp("both")
    yield Both(lab, folder, {
        "pifleet_fleet": FLEET,
        "pifleet_defaults": {"pattern": "docker", "model": "dry", "cpus": 1, "memory": "768m"},
        "pifleet_models": {"dry": {"api": "scripted"}},
        "pifleet_repos": {"web": {"url": lab.git.http_url("web"), "ref": "main"}},
        "pifleet_results": str(folder / "results"),
        "pifleet_developers": {"ana": {"repos": ["web"]}, "bo": {"repos": ["web"]}},
    }, pods=bare_pods)
    names = [f"{FLEET}-{name}" for name in ("pifleet", "ana", "bo")]
    bare_pods.kubectl("delete", "namespaces", "--wait=false", "--ignore-not-found", *names)
    Lab(name).down()


@pytest.fixture(scope="module")
def working(farm: Both) -> Both:
    """The farm as pattern docker, with unfinished work and a session of pi's in each sandbox."""
    begin_work(farm)
    return farm


def test_one_word_carries_all_work_into_a_pod_and_another_brings_it_back(working: Both) -> None:
    carry_over_and_back(working, "pod")
