"""The built wheel, far from the checkout, does the main job on a bare lab host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.farm import Lab
from tests.lab.fixtures import started
from tests.packaging.conftest import run


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = started("wheel", "farm-1")
    yield lab
    lab.down()


def test_the_installed_wheel_provisions_a_bare_host(installed: Path, lab: Lab, tmp_path: Path) -> None:
    fleet = {
        "pifleet_fleet": "wheel",
        "pifleet_models": {"dry": {"api": "scripted"}},
        "pifleet_defaults": {"pattern": "docker", "model": "dry", "memory": "512m"},
        "pifleet_repos": {"web": {"url": lab.git.http_url("web"), "ref": "main"}},
        "pifleet_developers": {"ana": {"repos": ["web"]}},
    }
    groups = {"pifleet_docker": {"hosts": {"farm-1": {}}}}
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"vars": fleet, "children": groups}}))
    (tmp_path / "addresses.yml").write_text(lab.inventory())
    sources = ("-i", "inventory.yml", "-i", "addresses.yml")
    pifleet = installed / "pifleet"

    made = json.loads(run(pifleet, "provision", *sources, "--yes", "-o", "json", cwd=tmp_path))
    planned = json.loads(run(pifleet, "plan", *sources, "-o", "json", cwd=tmp_path))
    ran = json.loads(run(pifleet, "run", "ana", *sources, "-p", "SAY from the wheel", "-o", "json", cwd=tmp_path))

    assert {row["result"] for row in made["outcomes"]} == {"changed"}
    assert planned["steps"] == []
    assert (ran["runs"][0]["answer"], ran["pulls"][0]["result"]) == ("from the wheel", "new")
