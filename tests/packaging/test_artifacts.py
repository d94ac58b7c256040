"""What leaves the house: the wheel works in a clean environment far from the checkout, the collection builds."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
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


@pytest.mark.slice
def test_the_wheel_carries_all_ansible_content(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    folders = ["playbooks", "roles", "plugins", "meta", "inventory"]
    tracked = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True).stdout.split()

    assert {f"pifleet/_ansible/{path}" for path in tracked} <= names
    assert not [name for name in names if name.startswith(("tests/", "scripts/"))]


def test_one_pip_install_brings_every_command(installed: Path, tmp_path: Path) -> None:
    assert "pifleet" in run(installed / "pifleet", "--version", cwd=tmp_path)
    assert "ansible-playbook" in run(installed / "ansible-playbook", "--version", cwd=tmp_path)


def test_every_module_of_the_wheel_imports_without_development_tools(installed: Path, tmp_path: Path) -> None:
    program = (
        "import pkgutil, importlib, pifleet\n"
        "for m in pkgutil.walk_packages(pifleet.__path__, 'pifleet.'):\n"
        "    '_ansible' in m.name or m.name.endswith('_agent') or importlib.import_module(m.name)\n"
    )
    run(installed / "python", "-I", "-c", program, cwd=tmp_path)


def test_the_installed_command_writes_an_inventory_and_plans_with_it(installed: Path, tmp_path: Path) -> None:
    run(installed / "pifleet", "init", cwd=tmp_path)

    assert (tmp_path / "inventory.yml").exists()


@pytest.mark.slice
def test_the_collection_builds_with_content_and_nothing_else(tmp_path: Path) -> None:
    galaxy = Path(sys.executable).parent / "ansible-galaxy"
    run(galaxy, "collection", "build", "--output-path", tmp_path, ROOT, cwd=tmp_path)
    [tarball] = tmp_path.glob("pifleet-fleet-*.tar.gz")
    with tarfile.open(tarball) as archive:
        tops = {name.split("/")[0] for name in archive.getnames()}

    assert {"playbooks", "roles", "plugins", "meta", "MANIFEST.json"} <= tops
    assert not tops & {"pifleet", "tests", "inventory", "scripts", "pyproject.toml", ".venv", "results"}
