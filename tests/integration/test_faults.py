"""One of two hosts in trouble: the other finishes, one row says what to do, the same command finishes the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.farm import Done, Farm
from tests.lab.hosts import Host


@pytest.fixture
def something_to_do(provisioned: Farm) -> Farm:
    """Both hosts have a container missing."""
    for title in ("bo/main", "ana/main"):
        provisioned.docker(provisioned.home_of(title), "rm", "-f", f"pi-{title.replace('/', '-')}")
    assert provisioned.home_of("cy/review") == "farm-1"
    return provisioned


def rows(done: Done) -> dict[str, str]:
    return {row["sandbox"] or row["host"]: row["result"] for row in done.json["outcomes"]}


TROUBLES: list[tuple[str, Callable[[Host], object], Callable[[Host], object], str]] = [
    ("switched off", Host.stop, Host.start, "farm-2"),
    ("hanging after it accepted the connection", Host.pause, Host.unpause, "farm-2"),
    ("unplugged without a word", Host.cut, Host.heal, "farm-2"),
]


@pytest.fixture(params=TROUBLES, ids=[row[0] for row in TROUBLES])
def trouble(request: pytest.FixtureRequest, something_to_do: Farm) -> Iterator[tuple[Farm, str]]:
    _, begin, end, name = request.param
    host = something_to_do.lab.host(name)
    begin(host)
    try:
        yield something_to_do, name
    finally:
        end(host)


def test_the_other_host_finishes_and_one_row_says_what_to_do(trouble: tuple[Farm, str]) -> None:
    farm, silent = trouble
    done = farm.provision()
    row = next(row for row in done.json["outcomes"] if row["host"] == silent and not row["sandbox"])

    assert done.code == 1
    assert row["result"] == "unreachable"
    assert all(row["error"][part] for part in ("headline", "try"))
    assert rows(done)["farm-1"] in ("ok", "changed")
    assert farm.plan("--limit", "farm-1").json["steps"] == []


def test_the_same_command_finishes_the_rest_afterwards(provisioned: Farm) -> None:
    done = provisioned.provision()

    assert done.code == 0, done.out + done.err
    assert provisioned.plan().json["steps"] == []
