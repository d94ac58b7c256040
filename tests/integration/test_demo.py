"""scripts/demo, as a newcomer runs it: the main job on this machine, again without a change, and all taken away."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.accounting import Accounting
from tests.integration.farm import ROOT

pytestmark = [
    pytest.mark.slice,
    pytest.mark.skipif(os.geteuid() != 0, reason="process accounting and this machine's engine need root"),
]
WORDS = "Hello from pi in a sandbox without a network."
BUILDERS = ("apt-get", "dpkg", "pip", "npm", "npm install", "mmdebstrap", "ansible-playboo")


def demo(*words: str) -> str:
    done = subprocess.run([ROOT / "scripts" / "demo", *words], capture_output=True, text=True, timeout=2400)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def shown() -> str:
    return demo()


def test_it_shows_the_file_that_pi_wrote_and_has_it_at_home(shown: str) -> None:
    home = ROOT / "results/ana/main/hello/hello-from-pi.txt"

    assert WORDS in shown
    assert home.read_text() == f"{WORDS}\n"


def test_again_it_changes_nothing_and_builds_nothing(shown: str, tmp_path: Path) -> None:
    with Accounting(tmp_path / "again") as again:
        repeated = demo()

    assert "unchanged" in repeated
    assert " changed" not in repeated
    assert {name: again.ended[name] for name in BUILDERS if again.ended[name]} == {}


def test_everything_can_be_taken_away(shown: str) -> None:
    demo("--remove")
    containers = subprocess.run(
        ["docker", "ps", "-aq", "--filter", "label=io.pifleet.fleet=local"], capture_output=True, text=True, check=True
    ).stdout

    assert containers == ""
    assert not Path("/var/lib/pifleet").exists()
    assert not Path("/etc/pifleet").exists()
    assert "pi-ana:" not in Path("/etc/passwd").read_text()


def test_taken_away_it_is_made_again_beside_the_results_of_before(shown: str) -> None:
    again = demo()
    demo("--remove")

    assert "pifleet run ana" in again
    assert WORDS in again
