"""What leaves the house: the wheel works in a clean environment far from the checkout, the collection builds."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, run


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
