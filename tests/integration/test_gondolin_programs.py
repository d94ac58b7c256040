"""Our programs of pattern gondolin, held against the types of the very packages that they run with."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pifleet import content
from pifleet.pins import Gondolin, Image

PROGRAMS = content.root() / "roles" / "gondolin" / "files"
COMPILER = ("typescript@5.9.3", "@types/node@24.10.1")


@pytest.mark.skipif(not shutil.which("npm"), reason="no npm here: apt install npm")
def test_it_has_the_types_of_the_installed_packages(tmp_path: Path) -> None:
    pinned = (f"@earendil-works/pi-coding-agent@{Image().pi_version}", f"@earendil-works/gondolin@{Gondolin().version}")
    (tmp_path / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional", *pinned, *COMPILER]
    subprocess.run(install, cwd=tmp_path, check=True, timeout=600, capture_output=True)
    for source in [*PROGRAMS.glob("*.[jt]s"), PROGRAMS / "tsconfig.json"]:
        shutil.copy(source, tmp_path)

    checked = subprocess.run(["node_modules/.bin/tsc", "-p", "tsconfig.json"], cwd=tmp_path, capture_output=True,
                             text=True, timeout=300)

    assert (checked.returncode, checked.stdout) == (0, "")
