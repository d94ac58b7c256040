"""What a sandbox of pattern openshell may touch, as its gateway tells it back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pifleet.patterns.openshell.policy import fixed, network, policy


@dataclass(frozen=True)
class To:
    name: str
    port: int = 443
    clone: bool = False


def test_a_sandbox_without_egress_reaches_nothing_and_no_empty_part_is_written() -> None:
    assert network(policy(())) == {}
    assert "network_policies" not in policy(())


@pytest.mark.parametrize(
    ("egress", "endpoints"),
    [
        ((To("a.example"),), [{"host": "a.example", "port": 443}]),
        ((To("a.example", 8443), To("a.example")), [{"host": "a.example", "ports": [443, 8443]}]),
        ((To(".example.com"),), [{"host": "**.example.com", "port": 443}, {"host": "example.com", "port": 443}]),
        ((To("b.example"), To("a.example")), [{"host": "a.example", "port": 443}, {"host": "b.example", "port": 443}]),
    ],
)
def test_destinations_become_endpoints_in_a_fixed_order(egress: tuple[To, ...], endpoints: list[object]) -> None:
    assert network(policy(egress))["egress"]["endpoints"] == endpoints


def test_where_git_only_reads_its_requests_are_looked_at_and_no_other_program_gets_there() -> None:
    rules = network(policy((To("git.example", clone=True), To("a.example"))))

    assert [one["host"] for one in rules["egress"]["endpoints"]] == ["a.example"]
    assert [one["path"] for one in rules["clone"]["binaries"]] == ["/usr/bin/git", "/usr/lib/git-core/**"]
    endpoint, = rules["clone"]["endpoints"]
    assert (endpoint["host"], endpoint["protocol"], endpoint["enforcement"]) == ("git.example", "rest", "enforce")
    assert [one["allow"]["method"] for one in endpoint["rules"]] == ["GET", "POST"]
    assert not [one for one in endpoint["rules"] if "receive-pack" in one["allow"]["path"]]


def test_no_destination_changes_what_is_fixed_when_a_sandbox_is_made() -> None:
    assert fixed(policy(())) == fixed(policy((To("a.example"),)))


def test_pi_its_home_and_its_settings_lie_where_the_policy_lets_them() -> None:
    paths = policy(())["filesystem_policy"]

    assert {"/usr", "/etc", "/opt/pifleet"} <= set(paths["read_only"])
    assert {"/home/pi", "/tmp", "/dev/null"} <= set(paths["read_write"])
    assert paths["include_workdir"] is True
    assert not {"/", "/home", "/root"} & {*paths["read_only"], *paths["read_write"]}
