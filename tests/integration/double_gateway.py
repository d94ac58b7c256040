"""Owns the gateway of the OpenShell double that a file of tests shares, as fixtures for conftest.
It must not try anything on it; a file whose tests end their gateway has one of its own for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.openshell import Shell, operator, serving
from tests.lab.openshell.double import Double

__all__ = ["box", "gateway", "openshell"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    with serving(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(scope="module")
def openshell(gateway: Double, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return operator(tmp_path_factory.mktemp("operator"), gateway)


@pytest.fixture(scope="module")
def box(openshell: Shell) -> str:
    """A sandbox that tests share and leave running."""
    openshell.ok("sandbox", "create", "--name", "box", "--from", "pi", "--detach")
    return "box"
