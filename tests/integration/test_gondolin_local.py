"""The main job of pattern gondolin with this machine itself as the host: two developers, no ssh."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.gondolin_work import FILES, RPC, script
from tests.integration.here import FREE, Here
from tests.integration.micro_farm import PATIENCE, PLACE, ROOT

pytestmark = [*FREE, pytest.mark.skipif(os.uname().machine != "x86_64", reason="the guest is made for x86_64")]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    made = Here(
        tmp_path_factory.mktemp("here"), "pifleet_gondolin", {"ana": {}, "bo": {}},
        pifleet_defaults={"pattern": "gondolin", "model": "dry", "cpus": 2, "memory": "2g", "pids": 512},
    )
    with made.provisioned():
        yield made


@pytest.fixture(scope="module")
def release(here: Here) -> str:
    """The guest's kernel, after work in it by each way."""
    found = here.pifleet("exec", "ana", "--", "uname", "-r").stdout.strip()
    done = here.pifleet("run", "ana", "-p", script(found))
    assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run([*PLACE, "ana-main", "agent", "/workspace", "timeout", str(PATIENCE), *RPC], check=True)
    return found


def test_a_second_run_changes_nothing(here: Here) -> None:
    assert here.pifleet("plan").returncode == 0
    done = here.pifleet("provision", "--yes", "-o", "json")
    assert {row["result"] for row in json.loads(done.stdout)["outcomes"]} == {"ok"}


@pytest.mark.parametrize("name", FILES)
def test_every_way_of_writing_is_the_guests_and_the_file_is_the_developers(release: str, name: str) -> None:
    path = Path(ROOT, "ana-main", "workspace", name)

    assert path.read_text().strip() == release != os.uname().release
    assert path.owner() == "pi-ana"


def test_it_comes_home(here: Here, release: str) -> None:
    done = here.pifleet("pull", "ana")

    assert done.returncode == 0, done.stderr
    assert {path.name for path in (here.folder / "results").rglob("by-*.txt")} == {Path(name).name for name in FILES}


def test_verify_proves_both(here: Here) -> None:
    done = here.pifleet("verify")

    assert done.returncode == 0, done.stdout
