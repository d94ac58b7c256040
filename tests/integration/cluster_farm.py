"""Owns a cluster provisioned from the example, with repositories of the test's own and images that need no registry.
It must not reach into pifleet: everything goes through the command line, and what is there is asked of kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pifleet import content
from pifleet.fleet import Image
from pifleet.look import image_cache
from tests.integration.farm import ROOT, Operator
from tests.lab.cluster import Cluster
from tests.lab.cluster.build import programs
from tests.lab.cluster.gateway_image import gateway_image

EXAMPLE = ROOT / "inventory" / "kubernetes.yml"
HOST, FLEET = "prod", "acme"
REPOS = ("api", "infra", "web")
DEVELOPERS = ("ana", "bo", "cy", "di")


@dataclass
class ClusterFarm(Operator):
    """The example's cluster and developers; `overlay` are the fleet's variables over it, `variables` the cluster's."""

    kubeconfig: Path
    folder: Path
    overlay: Mapping[str, Any]
    variables: Mapping[str, Any]

    @property
    def sources(self) -> list[str]:
        """The inventories, written anew: others of the same folder may lay other variables over the example."""
        everything = {"vars": self.overlay, "hosts": {HOST: self.variables}}
        path = self.folder / "overlay.json"
        path.write_text(json.dumps({"all": everything}))
        return [str(EXAMPLE), str(path)]

    def kubectl(self, *words: str, check: bool = True, text: str = "") -> str:
        """What kubectl says, as one who may do everything; `text` is what it reads."""
        command = [str(programs() / "kubectl"), f"--kubeconfig={self.kubeconfig}", *words]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def repaired(self) -> None:
        """Have everything as it should be, whatever a test left."""
        done = self.provision()
        assert done.code == 0, done.out + done.err


def holds(asked: Callable[[], bool]) -> None:
    """Wait until it does."""
    end = time.monotonic() + 90
    while not asked():
        assert time.monotonic() < end, "did not come true within 90 s"
        time.sleep(1)


def repository(folder: Path, name: str, megabytes: int = 0) -> None:
    """Make the bare repository `name`.git with one commit, and so much in it that no packing makes smaller."""
    bare, work = folder / f"{name}.git", folder / f"{name}-work"
    (work / "src").mkdir(parents=True)
    (work / "README").write_text(f"{name}\n")
    (work / "src" / "numbers").write_text("".join(f"{number}\n" for number in range(1000)))
    if megabytes:
        (work / "noise").write_bytes(os.urandom(megabytes << 20))
    author = ("-c", "user.name=lab", "-c", "user.email=lab@example.com")
    for words in (("init", "-q", "-b", "main"), ("add", "."), (*author, "commit", "-qm", "first")):
        subprocess.run(["git", "-C", work, *words], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", work, bare], check=True)


def preloaded(cluster: Cluster) -> None:
    """Have the fleet's image and its gateway's in the cluster; skips where no host has made the first one yet."""
    image = Image(recipe=content.image_recipe())
    archive = image_cache() / f"{image.hash}.tar.zst"
    if not archive.exists():
        pytest.skip(f"{archive} is not here: any provision of a Docker host makes it, as `scripts/demo` does")
    for one in (archive, gateway_image(archive, image.gateway_name)):
        cluster.load(one)


@pytest.fixture(scope="session")
def cluster_images(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where nodes have the images from: the lab's are given them, another cluster's pull what the environment names."""
    if "PIFLEET_TEST_KUBECONFIG" not in os.environ:
        preloaded(request.getfixturevalue("cluster"))
        return {}
    names = {
        "pifleet_cluster_image": "PIFLEET_TEST_IMAGE", "pifleet_cluster_gateway_image": "PIFLEET_TEST_GATEWAY_IMAGE",
    }
    if missing := [name for name in names.values() if name not in os.environ]:
        pytest.skip(f"beside PIFLEET_TEST_KUBECONFIG this needs {' and '.join(missing)}")
    return {variable: os.environ[name] for variable, name in names.items()}


@pytest.fixture(scope="session")
def bare_pods(
    kubeconfig: Path, cluster_images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClusterFarm]:
    """The inventory, of which nothing is made yet; everything of it is gone afterwards."""
    folder = tmp_path_factory.mktemp("pods")
    repos = tmp_path_factory.mktemp("repos")
    for name in REPOS:
        repository(repos, name)
    results = str(folder / "results")
    overlay = {"cluster_kubeconfig": str(kubeconfig), "repos_at": str(repos), "pifleet_results": results}
    made = ClusterFarm(kubeconfig, folder, overlay, cluster_images)
    yield made
    names = [f"{FLEET}-{name}" for name in ("pifleet", *DEVELOPERS)]
    made.kubectl("delete", "namespaces", "--wait=false", "--ignore-not-found", *names)


@pytest.fixture(scope="session")
def pods(bare_pods: ClusterFarm) -> ClusterFarm:
    """The cluster with everything running; a test that damages it has it `repaired`."""
    bare_pods.repaired()
    return bare_pods


@pytest.fixture(scope="session")
def small_pods(
    kubeconfig: Path, cluster_images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClusterFarm]:
    """A fleet of its own on the same cluster: `ed` alone, with one repository in a workspace that holds little."""
    folder = tmp_path_factory.mktemp("small")
    repository(folder, "web")
    overlay = {"cluster_kubeconfig": str(kubeconfig), "repos_at": str(folder), "pifleet_fleet": "small",
               "pifleet_results": str(folder / "results"), "pifleet_developers": {"ed": {"repos": ["web"]}}}
    made = ClusterFarm(kubeconfig, folder, overlay,
                       {**cluster_images, "pifleet_namespace": "small", "pifleet_storage": "64m"})
    made.repaired()
    yield made
    made.kubectl("delete", "namespaces", "--wait=false", "--ignore-not-found", "small-pifleet", "small-ed")
