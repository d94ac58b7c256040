"""Owns the one farm that the tests of the main job share: bare hosts, provisioned once under watch."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hunting import Watch
from tests.integration.cluster_farm import bare_pods, cluster_images, pods, small_pods
from tests.integration.double_gateway import box, gateway, openshell
from tests.integration.farm import Done, Farm, small_farm
from tests.integration.micro_farm import first_of_micro, micro, micro_farm, micro_lab
from tests.integration.shells_farm import (
    first_of_shells,
    shell_farm,
    shell_key,
    shell_lab,
    shell_words,
    shells,
)
from tests.lab.farm import HOSTS, Lab
from tests.lab.fixtures import cluster, kubeconfig, started

__all__ = [
    "bare_pods", "box", "cluster", "cluster_images", "first_of_micro", "first_of_shells", "gateway", "kubeconfig",
    "micro", "micro_farm", "micro_lab", "openshell", "pods", "shell_farm", "shell_key", "shell_lab", "shell_words",
    "shells", "small_pods",
]


@dataclass(frozen=True)
class Poison:
    """Words that must be found nowhere but where they belong."""

    model_key: str
    git_token: str
    sudo_password: str
    environment: str

    @property
    def words(self) -> tuple[str, ...]:
        return (self.model_key, self.git_token, self.sudo_password)

    @property
    def everything(self) -> tuple[str, ...]:
        """With the word in the operator's environment, which pifleet's own processes may hold and nothing else."""
        return (*self.words, self.environment)


@dataclass(frozen=True)
class FirstRun:
    """The first `provision` of the bare hosts, and what was seen in the process list while it ran."""

    done: Done
    watch: Watch


@pytest.fixture(scope="session")
def bare_lab() -> Iterator[tuple[Lab, str]]:
    """Two bare hosts whose sudo asks for a password, one with a disk of its own. Gone afterwards: they hold poison."""
    password = f"poison-{uuid.uuid4().hex}"
    name = os.environ.get("PIFLEET_LAB", "job")
    lab = Lab(name)
    lab.down()
    started(name, HOSTS[0], sudo_password=password)
    yield started(name, HOSTS[1], data="4G", sudo_password=password), password
    lab.down()


@pytest.fixture(scope="session")
def poison(bare_lab: tuple[Lab, str]) -> Poison:
    lab, password = bare_lab
    key = f"poison-{uuid.uuid4().hex}"
    lab.model.require(key)
    return Poison(key, lab.git.token_file.read_text().strip(), password, f"poison-{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def farm(bare_lab: tuple[Lab, str], poison: Poison, tmp_path_factory: pytest.TempPathFactory) -> Farm:
    """The example farm over the lab: model and git server are the lab's, the three secrets lie in files."""
    lab, _ = bare_lab
    folder = tmp_path_factory.mktemp("farm")
    keys = tmp_path_factory.mktemp("keys")
    for name, word in (("model", poison.model_key), ("sudo", poison.sudo_password)):
        (keys / name).write_text(word)
    model = {"api": "anthropic-messages", "base_url": lab.model.keyed_url, "key": {"file": str(keys / "model")}}
    return Farm(lab, folder, {
        "pifleet_results": str(folder / "results"),
        "default_model": "lab",
        "pifleet_models": {"lab": {**model, "models": ["lab-1"]}, "dry": {"api": "scripted"}},
        "pifleet_repos": {
            "web": {"url": lab.git.http_url("web"), "ref": "main"},
            "api": {
                "url": lab.git.http_url("api"), "ref": "main",
                "auth": {"token": {"file": str(lab.git.token_file)}},
            },
        },
        "ansible_become_password": f"{{{{ lookup('file', '{keys / 'sudo'}') }}}}",
    })


@pytest.fixture(scope="session")
def first_run(farm: Farm, poison: Poison) -> FirstRun:
    with Watch(poison.words) as watch:
        done = farm.pifleet("provision", "--yes", "-o", "json", OPERATORS_OWN=poison.environment)
    return FirstRun(done, watch)


@pytest.fixture(scope="session")
def provisioned(farm: Farm, first_run: FirstRun) -> Farm:
    """The farm with everything running; tests that damage it leave it repaired."""
    assert first_run.done.code == 0, first_run.done.out + first_run.done.err
    return farm


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One bare host with a disk of its own, and one sandbox `ana/main` that is not yet made. Gone afterwards."""
    lab = started("small", HOSTS[0], data="3G")
    yield small_farm(lab, tmp_path_factory.mktemp("small"), ana={"repos": ["api"]})
    lab.down()
