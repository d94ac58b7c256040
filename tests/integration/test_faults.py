"""One of two hosts in trouble: the other finishes, one row says what to do, the same command finishes the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.farm import Done, Farm
from tests.lab.hosts import Host


@pytest.fixture
def something_to_do(provisioned: Farm) -> Farm:
    """Each host has a container missing."""
    for host in provisioned.lab.hosts():
        name = provisioned.docker(host, "ps", "--format", "{{.Names}}").split()[0]
        provisioned.docker(host, "rm", "-f", name)
    return provisioned


def rows(done: Done) -> dict[str, str]:
    return {row["sandbox"] or row["host"]: row["result"] for row in done.json["outcomes"]}


TROUBLES: list[tuple[str, Callable[[Host], object], Callable[[Host], object], str]] = [
    ("switched off", Host.stop, Host.start, "unreachable"),
    ("hanging after it accepted the connection", Host.pause, Host.unpause, "unreachable"),
    ("unplugged without a word", Host.cut, Host.heal, "unreachable"),
    ("with a full disk", Host.fill, Host.unfill, "failed"),
]
TROUBLED = "farm-2"


@pytest.mark.parametrize(("begin", "end", "result"), [row[1:] for row in TROUBLES], ids=[row[0] for row in TROUBLES])
def test_the_other_host_finishes_and_the_same_command_finishes_the_rest(
    something_to_do: Farm, begin: Callable[[Host], object], end: Callable[[Host], object], result: str
) -> None:
    farm, host = something_to_do, something_to_do.lab.host(TROUBLED)
    begin(host)
    try:
        during = farm.provision()
    finally:
        end(host)
    [row] = [row for row in during.json["outcomes"] if row["host"] == TROUBLED and not row["sandbox"]]
    rest = farm.provision()

    assert during.code == 1
    assert row["result"] == result
    assert all(row["error"][part] for part in ("headline", "try"))
    assert rows(during)["farm-1"] in ("ok", "changed")
    assert {name for name, how in rows(during).items() if how not in ("ok", "changed")} <= on(farm, TROUBLED)
    assert rest.code == 0, rest.out + rest.err
    assert farm.plan().json["steps"] == []


def on(farm: Farm, host: str) -> set[str]:
    """A host and the sandboxes that live on it."""
    return {host} | {title for title in ("ana/main", "bo/main", "cy/kernel", "di/main") if farm.home_of(title) == host}
