"""The pattern of sandboxes with unfinished work is changed by one word, and changed back: each ends with all of it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.carried import EVERYTHING, NAMES, begin_work, carry_over_and_back
from tests.integration.farm import BIN
from tests.integration.shells import HOST, Shells, overlay, packages
from tests.lab.farm import Lab
from tests.lab.fixtures import started

KILLS = 4
FOLDER = "/var/lib/pifleet/sandboxes/ana-main"


class Both(Shells):
    """A farm of one host that offers two patterns."""

    @property
    def sources(self) -> list[str]:
        groups = {name: {"hosts": {HOST: {}}} for name in ("pifleet_docker", "pifleet_openshell")}
        (self.folder / "addresses.yml").write_text(self.lab.inventory())
        (self.folder / "inventory.json").write_text(json.dumps({"all": {"vars": self.overlay, "children": groups}}))
        return [str(self.folder / "inventory.json"), str(self.folder / "addresses.yml")]

    def of(self, pattern: str) -> Both:
        """The same farm, in which the one word is this one."""
        return replace(self, overlay={
            **self.overlay, "pifleet_defaults": {**self.overlay["pifleet_defaults"], "pattern": pattern}})

    def everything(self) -> dict[str, str]:
        return {name: self.inside(name, EVERYTHING) for name in NAMES}

    def there(self) -> dict[str, int]:
        """How many sandboxes of each pattern the host has."""
        labels = {"docker": "io.pifleet.fleet", "openshell": "openshell.ai/sandbox-name"}
        return {name: len(self.docker(HOST, "ps", "-aq", "--filter", f"label={label}").split())
                for name, label in labels.items()}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    name = os.environ.get("PIFLEET_LAB", "change")
    yield started(name, HOST)
    Lab(name).down()


@pytest.fixture(scope="module")
def farm(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("change")
    made: dict[str, Any] = dict(overlay(lab, folder, packages(tmp_path_factory.mktemp("release")), Path("/nowhere")))
    made["pifleet_models"] = {"dry": {"api": "scripted"}}
    made["pifleet_repos"] = {"web": made["pifleet_repos"]["web"]}
    made["pifleet_defaults"] |= {"model": "dry", "pattern": "docker"}
    made["pifleet_developers"] = {"ana": {"repos": ["web"]}, "bo": {"repos": ["web"]}}
    return Both(lab, folder, made)


@pytest.fixture(scope="module")
def working(farm: Both) -> Both:
    """The farm as pattern docker, with unfinished work and a session in each sandbox."""
    begin_work(farm)
    return farm


def test_one_word_carries_all_work_to_another_pattern_and_another_brings_it_back(working: Both) -> None:
    carry_over_and_back(working, "openshell")


def test_of_the_old_pattern_nothing_stays_on_the_host(working: Both) -> None:
    done = working.of("openshell").provision()

    assert done.code == 0, done.out + done.err
    assert working.as_root(f"ls -A {FOLDER}") == ""
    working.repaired()
    assert working.as_root("ls -A /var/lib/pifleet/openshell/incoming") == ""


def test_a_sandbox_whose_work_cannot_come_home_keeps_its_pattern(working: Both) -> None:
    assert working.pifleet("exec", "bo", "--", "mkfifo", "/workspace/web/pipe").code == 0
    changed = working.of("openshell")

    done = changed.provision()
    row = next(row for row in done.json["outcomes"] if row["sandbox"] == "bo/main")

    assert (done.code, row["result"]) == (1, "skipped")
    assert "web/pipe" in row["error"]["saw"]
    assert changed.there() == {"docker": 1, "openshell": 1}
    assert working.inside("bo", "test -p /workspace/web/pipe && echo there; rm /workspace/web/pipe") == "there\n"
    working.repaired()


def test_killed_anywhere_and_run_again_the_work_is_all_there(working: Both) -> None:
    seed = int(os.environ.get("PIFLEET_SEED", time.time()))
    print(f"PIFLEET_SEED={seed}")
    chance = random.Random(seed)
    before = working.everything()
    for attempt in range(KILLS):
        changed = working.of(("openshell", "docker")[attempt % 2])
        killed_after(changed, chance.uniform(3, 60))

        done = changed.provision()

        assert done.code == 0, (seed, attempt, done.out + done.err)
        assert changed.everything() == before, (seed, attempt)
        assert sorted(changed.there().values()) == [0, 2], (seed, attempt)
        assert changed.plan().json["steps"] == [], (seed, attempt)


def killed_after(farm: Both, seconds: float) -> None:
    """A provision of the farm that is killed, with everything that it started, unless it ends before."""
    sources = [part for source in farm.sources for part in ("-i", source)]
    child = subprocess.Popen(
        [str(BIN / "pifleet"), "provision", "--yes", *sources], cwd=farm.folder, start_new_session=True,
        env={**os.environ, "NO_COLOR": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
