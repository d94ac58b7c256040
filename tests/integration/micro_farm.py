"""Owns the one provisioned host of pattern gondolin that its tests share, as fixtures for conftest.
It must not try anything on it; tests that damage it leave it repaired."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.farm import Done, Farm
from tests.lab.farm import Lab
from tests.lab.fixtures import started
from tests.lab.hosts import Host

__all__ = ["first_of_micro", "micro", "micro_farm", "micro_lab"]

HOST = "farm-1"
ROOT = "/var/lib/pifleet/sandboxes"
RUNTIMES = "/usr/local/lib/pifleet/gondolin"
# By a shell that stays: a place dies with its parent, and what `docker exec` starts may lose its first one at once.
PLACE = ("sh", "-c", '"$@"; exit $?', "sh", "/usr/bin/python3", "-I", "/usr/local/lib/pifleet/places", "enter")
# A machine is emulated where no KVM works, and this one may be busy: it boots in 6 s or in 100.
PATIENCE = 240
POISON = "poison-of-the-operator"


@dataclass
class Micro(Farm):
    """A farm of one bare host, whose developers' tools are in a micro-VM of each."""

    @property
    def host(self) -> Host:
        return self.lab.host(HOST)

    def in_place(self, place: str, *words: str, sandbox: str = "ana-main", stdin: str = "") -> str:
        """What a command says in a place of a sandbox, as pifleet enters it."""
        return str(self.host.inside(*PLACE, sandbox, place, "/workspace", *words, input=stdin))

    def sh(self, script: str) -> str:
        """What a shell of root's says on the host."""
        return str(self.host.inside("sh", "-c", script))

    def machines(self) -> list[str]:
        """The processes that are somebody's micro-VM."""
        return [name for name in self.host.inside("ps", "-e", "-o", "comm=").split() if name.startswith("qemu-system")]

    def repaired(self) -> Done:
        """Provision once more, until nothing is left to do."""
        done = self.provision()
        assert done.code == 0, done.err + done.out
        assert self.plan().json["steps"] == []
        return done

    def runtime(self) -> str:
        return self.sh(f"echo {RUNTIMES}/*/guest").strip().removesuffix("/guest")


def wait(until: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, f"{what} within {seconds} s"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def micro_lab() -> Iterator[Lab]:
    name = os.environ.get("PIFLEET_LAB", "gondolin")
    Lab(name).down()
    yield started(name, HOST)
    Lab(name).down()


def micro_of(lab: Lab, folder: Path, developers: Sequence[str]) -> Micro:
    """A farm of the lab's host with a sandbox for each developer."""
    base = folder / "base.json"
    base.write_text(json.dumps({"pifleet_gondolin": {"hosts": {HOST: {}}}}))
    return Micro(lab, folder, {
        "pifleet_fleet": "micro",
        "pifleet_defaults": {"pattern": "gondolin", "model": "dry", "cpus": 2, "memory": "2g", "pids": 512},
        "pifleet_models": {"dry": {"api": "scripted"}},
        "pifleet_repos": {"api": {"url": lab.git.http_url("web"), "ref": "main"}},
        "pifleet_results": str(folder / "results"),
        "pifleet_developers": {name: {"repos": ["api"]} for name in developers},
    }, base)


@pytest.fixture(scope="session")
def micro_farm(micro_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Micro:
    return micro_of(micro_lab, tmp_path_factory.mktemp("gondolin"), ("ana", "bo", "mal"))


@pytest.fixture(scope="session")
def first_of_micro(micro_farm: Micro) -> Done:
    """The first `provision` of the bare host."""
    return micro_farm.pifleet("provision", "--yes", "-o", "json", timeout=3000, SECRET_TOKEN=POISON)


@pytest.fixture(scope="session")
def micro(micro_farm: Micro, first_of_micro: Done) -> Micro:
    """The farm with everything running."""
    assert first_of_micro.code == 0, first_of_micro.out + first_of_micro.err
    return micro_farm
