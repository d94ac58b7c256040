"""What a sandbox on a gateway of others says of itself, and that a hostile one only makes itself unseen."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hostside import together

BOX = {"settings": {"models.json": "{}"}, "repos": [{"name": "web"}]}


class Local:
    """Runs what would run in a sandbox here, with `python3` as given: all that this needs of a gateway's client."""

    def __init__(self, folder: Path, python3: str = "") -> None:
        self.path = f"{folder}:/usr/bin:/bin"
        if python3:
            (folder / "python3").write_text(f"#!/bin/sh\n{python3}\n")
            (folder / "python3").chmod(0o755)

    def ssh(self, _workspace: str, _name: str, *words: str) -> list[str]:
        return ["sh", "-c", *words]

    def start(self, argv: list[str], **settings: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"PATH": self.path},
                                **settings)


def inside(client: Local) -> tuple[Any, type[Exception]]:
    elsewhere, openshell = together("openshell_elsewhere", "openshell")
    try:
        return elsewhere.There(client)._inside({"workspace": "pi-ana", "name": "ana-main"}, BOX), Exception
    except openshell.ShellError as error:
        return str(error), openshell.ShellError


@pytest.mark.skipif(not shutil.which("python3", path="/usr/bin"), reason="no python3 in /usr/bin here")
def test_a_sandbox_tells_its_settings_repositories_and_how_many_pi_are_at_work(tmp_path: Path) -> None:
    said, _ = inside(Local(tmp_path))

    assert said["settings"] == {"models.json": ""}
    assert said["repos"] == {"web": False}
    assert said["agent"]["processes"] >= 0


@pytest.mark.parametrize("program", [
    "echo nonsense", "echo '[]'", "echo '{\"settings\": [], \"repos\": {}, \"agent\": {\"processes\": 0}}'",
    "echo '{\"settings\": {}, \"repos\": {}, \"agent\": {\"processes\": \"many\"}}'", "exit 3", "yes",
    "head -c 70000 /dev/zero",
])
def test_an_answer_that_is_none_is_an_error_of_that_sandbox_and_never_read_without_end(
    tmp_path: Path, program: str
) -> None:
    said, kind = inside(Local(tmp_path, program))

    assert kind.__name__ == "ShellError"
    assert "ana-main" in said
