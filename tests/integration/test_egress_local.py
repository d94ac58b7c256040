"""Egress on a host without systemd, this machine: the same lists hold, and our own keeper starts again what dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.place import wait
from tests.integration.egress_place import own_certificates
from tests.integration.here import FREE, Here
from tests.integration.test_egress import PIP

pytestmark = [*FREE, pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="this machine has systemd")]
LISTS: dict[str, list[Any]] = {"ana": [], "bo": ["pip"]}


def pip(here: Here, developer: str) -> subprocess.CompletedProcess[str]:
    script = "rm -rf /tmp/pip; cat > /tmp/ca.pem"
    here.pifleet("exec", developer, "--", "sh", "-c", script, stdin=own_certificates())
    return here.pifleet("exec", developer, "--", "sh", "-c", PIP)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    developers = {name: {"egress": entries} for name, entries in LISTS.items()}
    made = Here(tmp_path_factory.mktemp("here"), "pifleet_docker", developers,
                pifleet_defaults={"model": "dry", "cpus": 1, "memory": "1g", "pids": 256})
    with made.provisioned():
        yield made
    assert rules() == ""


def rules() -> str:
    return subprocess.run(["nft", "list", "table", "inet", "pifleet"], capture_output=True, text=True).stdout


def keeper() -> tuple[int, int]:
    """Our keeper of the proxy, and the guard of squid that it keeps."""
    own, guard = Path("/run/pifleet/pifleet-egress-proxy.pid").read_text().split()
    return int(own), int(guard)


def squid() -> list[int]:
    """That guard's squid; other hosts' processes show on this machine too."""
    found = subprocess.run(["pgrep", "-P", str(keeper()[1]), "-x", "squid"], capture_output=True, text=True).stdout
    return [int(pid) for pid in found.split()]


def test_a_listed_source_works_and_is_refused_where_it_is_not_listed(here: Here) -> None:
    listed, refused = pip(here, "bo"), pip(here, "ana")

    assert (listed.returncode, "six" in listed.stdout) == (0, True), listed.stdout[-2000:] + listed.stderr[-2000:]
    assert refused.returncode not in (0, 255)
    assert "403" in refused.stdout + refused.stderr


def test_a_squid_that_dies_or_whose_rules_are_gone_comes_back_with_them(here: Here) -> None:
    [first] = squid()
    os.kill(first, signal.SIGKILL)
    wait(lambda: squid() not in ([], [first]))
    second = squid()
    subprocess.run(["nft", "delete", "table", "inet", "pifleet"], check=True)
    wait(lambda: squid() not in ([], second))

    assert "chain squid" in rules()
    wait(lambda: pip(here, "bo").returncode == 0, 120)
    assert here.pifleet("plan").returncode == 0


def test_rules_and_squid_of_a_stopped_keeper_are_named_and_repaired(here: Here) -> None:
    [kept] = squid()
    os.kill(keeper()[0], signal.SIGTERM)
    wait(lambda: not Path(f"/proc/{kept}").exists())
    planned = [step["item"] for step in json.loads(here.pifleet("plan", "-o", "json").stdout)["steps"]]
    closed = pip(here, "bo").returncode
    repaired = here.pifleet("provision", "--yes")

    assert "service pifleet-egress-proxy" in planned
    assert closed != 0
    assert repaired.returncode == 0, repaired.stdout[-2000:] + repaired.stderr[-2000:]
    assert pip(here, "bo").returncode == 0
