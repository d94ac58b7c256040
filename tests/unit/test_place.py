"""What each closed place of a sandbox is given of its host, as the command line that makes it says."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pifleet import content
from pifleet.patterns.gondolin.desired import MODULES

FOLDER = content.root() / "roles" / "sandbox_gondolin" / "files" / "places"
SANDBOX = "/var/lib/pifleet/sandboxes/ana-main/"
BOX = {"id": "ana-main", "uid": 1_900_000_001, "runtime": "/usr/local/lib/pifleet/gondolin/h", "empty": "/empty",
       "cpus": 2.0, "memory": 2 << 30, "pids": 512}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, from the folder that Python runs on a host."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module: Any = import_module("place")
    monkeypatch.setattr(module, "ACCELERATION", tmp_path / "acceleration")
    module.ACCELERATION.write_text("tcg 0123456789ab\n")
    return module


def given(place: Any, name: str) -> dict[str, str]:
    """What of the sandbox is mounted, by where; folders of its control groups are everybody's."""
    argv = place.Place(BOX, name).argv(["true"], "/")
    mounts = zip(argv, argv[1:], argv[2:], strict=False)
    return {target: source.removeprefix(SANDBOX) for word, source, target in mounts
            if word in ("--bind", "--ro-bind") and source.startswith((SANDBOX, "/empty"))
            and not target.startswith(("/etc/", "/opt/"))}


def test_the_agent_has_the_model_and_an_empty_folder_for_a_workspace(place: Any) -> None:
    assert given(place, "agent") == {
        "/workspace": "/empty", "/home/pi": "home", "/run/pifleet/net": "net", "/run/pifleet/machine": "machine",
    }


def test_the_machine_has_the_workspace_and_the_proxy_and_no_home(place: Any) -> None:
    assert given(place, "machine") == {
        "/workspace": "workspace", "/run/pifleet/machine": "machine", "/run/pifleet/out": "out",
    }


def test_pifleets_own_programs_have_workspace_and_home_and_no_socket(place: Any) -> None:
    assert given(place, "work") == {"/workspace": "workspace", "/home/pi": "home"}


@pytest.mark.parametrize("name", ["agent", "machine", "work"])
def test_every_place_is_closed_in_the_same_way(place: Any, name: str) -> None:
    argv = place.Place(BOX, name).argv(["true"], "/")
    own = {"--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--die-with-parent"}

    assert own <= set(argv)
    # What bubblewrap keeps is for setpriv, which gives it away before anything of the sandbox runs.
    after = argv[argv.index("setpriv"):]
    assert {"--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups"} <= set(after)
    assert after[after.index("--reuid") + 1] == after[after.index("--regid") + 1] == str(BOX["uid"])
    assert after[after.index("env") + 1] == "-i"


@pytest.mark.parametrize("name", ["agent", "machine", "work"])
def test_no_device_of_the_host_is_given_where_no_machine_booted_with_it(place: Any, name: str) -> None:
    assert "/dev/kvm" not in place.Place(BOX, name).argv(["true"], "/")


def test_only_the_machine_has_kvm_where_one_booted_with_it(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place.ACCELERATION.write_text("kvm 0123456789ab\n")
    monkeypatch.setattr(place.os, "stat", lambda path: type("Seen", (), {"st_gid": 104})())

    having = [name for name in ("agent", "machine", "work")
              if "/dev/kvm" in place.Place(BOX, name).argv(["true"], "/")]
    assert having == ["machine"]


def test_the_folder_is_a_program_that_finds_its_modules_in_itself(tmp_path: Path) -> None:
    for module in FOLDER.glob("*.py"):
        (tmp_path / module.name).write_text(module.read_text())
    done = subprocess.run([sys.executable, "-I", tmp_path, "keep", "no-such-sandbox"], capture_output=True, text=True)

    assert "FileNotFoundError" in done.stderr
    assert "no-such-sandbox/etc/place.json" in done.stderr
    assert {path.name for path in FOLDER.glob("*.py")} == set(MODULES)
