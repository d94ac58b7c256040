"""Owns the artifacts under test: the wheel built from what git tracks, and a clean environment with it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ANSIBLE", "VIRTUAL_ENV"))}


def run(*argv: object, cwd: Path, **env: str) -> str:
    done = subprocess.run([str(word) for word in argv], cwd=cwd, env={**CLEAN, **env}, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from what git tracks, so that a file left out of git is missed here and not by a user."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "--null", "-T", "-", "-cf", source / "all.tar"], cwd=ROOT, input=tracked, check=True)
    subprocess.run(["tar", "-xf", "all.tar"], cwd=source, check=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out, source, cwd=source)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a clean environment into which one `pip install` put the wheel."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", with_pip=True)
    run(folder / "venv/bin/pip", "install", "-q", "--disable-pip-version-check", "-c", _constraints(folder), wheel,
        cwd=folder)
    return folder / "venv" / "bin"


def _constraints(folder: Path) -> Path:
    """The locked versions without their hashes, so that what is tested here is what is tested elsewhere."""
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    pins = [line.split(" ")[0] for line in lines if line and line[0].isalpha()]
    (folder / "constraints.txt").write_text("\n".join(pins))
    return folder / "constraints.txt"
