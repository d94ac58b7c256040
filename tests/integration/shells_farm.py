"""Owns the one provisioned gateway host that the tests of pattern openshell share, as fixtures for conftest.
It must not try anything on it; tests that damage it leave it repaired."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hunting import Watch
from tests.integration.farm import Done
from tests.integration.shells import HOST, Shells, overlay, packages
from tests.lab.farm import Lab
from tests.lab.fixtures import started

__all__ = ["first_of_shells", "shell_farm", "shell_key", "shell_lab", "shell_words", "shells"]


@pytest.fixture(scope="session")
def shell_words() -> tuple[str, str]:
    """Keys that must be found nowhere but where they belong: the first model's, and the one it is changed to."""
    return f"poison-{uuid.uuid4().hex}", f"poison-{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def shell_lab() -> Iterator[Lab]:
    """A bare host with a disk of its own, which can be filled; gone afterwards, since it holds poison."""
    name = os.environ.get("PIFLEET_LAB", "gateway")
    yield started(name, HOST, data="8G")
    Lab(name).down()


@pytest.fixture(scope="session")
def shell_key(tmp_path_factory: pytest.TempPathFactory, shell_lab: Lab, shell_words: tuple[str, str]) -> Path:
    shell_lab.model.require(shell_words[0])
    path = tmp_path_factory.mktemp("keys") / "model"
    path.write_text(shell_words[0])
    return path


@pytest.fixture(scope="session")
def shell_farm(shell_lab: Lab, shell_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Shells:
    folder = tmp_path_factory.mktemp("shells")
    release = packages(tmp_path_factory.mktemp("release"))
    return Shells(shell_lab, folder, overlay(shell_lab, folder, release, shell_key))


@pytest.fixture(scope="session")
def first_of_shells(shell_farm: Shells, shell_words: tuple[str, str]) -> tuple[Done, Watch]:
    """The first `provision` of the bare host, and what was seen in the process list while it ran."""
    with Watch([*shell_words, shell_farm.lab.git.token_file.read_text().strip()]) as watch:
        done = shell_farm.provision()
    return done, watch


@pytest.fixture(scope="session")
def shells(shell_farm: Shells, first_of_shells: tuple[Done, Watch]) -> Shells:
    """The farm with everything running."""
    assert first_of_shells[0].code == 0, first_of_shells[0].err
    return shell_farm
