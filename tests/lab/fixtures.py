"""Pytest fixtures for tests that need real hosts: import them into a test file or a conftest.

Owns when a lab is started and when its absence is a reason to skip; must not know what is tested.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cluster import Cluster
from tests.lab.engine import CannotCarry
from tests.lab.farm import HOSTS, Lab
from tests.lab.gitserver import GitServer
from tests.lab.hosts import Host
from tests.lab.model import ModelServer


def started(name: str, *hosts: str, data: str | None = None, sudo_password: str | None = None) -> Lab:
    """The lab of this name with these hosts up; skips the test where this machine cannot carry one."""
    lab = Lab(name)
    try:
        lab.up(hosts, data=data, sudo_password=sudo_password)
    except CannotCarry as reason:
        pytest.skip(str(reason))
    return lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that test runs share and leave up: `$PIFLEET_LAB`, else `main`."""
    return started(os.environ.get("PIFLEET_LAB", "main"), *HOSTS)


@pytest.fixture(scope="session")
def lab_hosts(lab: Lab) -> dict[str, Host]:
    """Its farm hosts by name. Whoever changes one resets it, or leaves it as pifleet would find it after a run."""
    return {name: lab.host(name) for name in HOSTS}


@pytest.fixture(scope="session")
def git_server(lab: Lab) -> GitServer:
    return lab.git


@pytest.fixture(scope="session")
def model_server(lab: Lab) -> ModelServer:
    return lab.model


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster with a node for this run alone, `$PIFLEET_LAB-test`; it is gone with the run, however that ends."""
    made = Cluster(f"{os.environ.get('PIFLEET_LAB', 'main')}-test")
    try:
        made.up(owned=True)
    except CannotCarry as reason:
        pytest.skip(str(reason))
    yield made
    made.down()


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    """The kubeconfig of a cluster for tests that need only its API: `$PIFLEET_TEST_KUBECONFIG`, else the lab's."""
    named = os.environ.get("PIFLEET_TEST_KUBECONFIG")
    return Path(named) if named else request.getfixturevalue("cluster").kubeconfig
