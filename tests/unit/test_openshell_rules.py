"""What the OpenShell double's proxy lets through, as the documents of generation 0.0.x say; no sandbox is needed."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.lab.openshell.supervisor import rules, secrets
from tests.lab.openshell.supervisor.http import Request

GIT = ["/usr/lib/git-core/git-remote-http", "/usr/bin/git"]
CLONE: dict[str, Any] = {
    "host": "git.example.com", "port": 443, "protocol": "rest", "enforcement": "enforce",
    "rules": [{"allow": {"method": "GET", "path": "/**/info/refs*", "query": {"service": {"glob": "git-upload-pack"}}}},
              {"allow": {"method": "POST", "path": "/**/git-upload-pack"}}],
}
POLICY = {"git_ro": {"endpoints": [CLONE], "binaries": [{"path": "/usr/bin/git"}]}}


def through(method: str, target: str, **changes: Any) -> bool:
    verdict = rules.place({"git_ro": {**POLICY["git_ro"], "endpoints": [{**CLONE, **changes}]}}, "git.example.com", 443,
                          GIT)
    return rules.request(verdict, method, target).allowed


def test_only_listed_programs_and_what_they_start_get_through() -> None:
    assert rules.place(POLICY, "git.example.com", 443, GIT).allowed
    assert "not allowed in policy 'git_ro'" in rules.place(POLICY, "git.example.com", 443, ["/usr/bin/curl"]).reason
    assert not rules.place({"git_ro": {"endpoints": [CLONE]}}, "git.example.com", 443, GIT).allowed


@pytest.mark.parametrize(("host", "port"), [("example.com", 443), ("git.example.com", 80), ("x.git.example.com", 443)])
def test_another_host_or_port_matches_no_policy(host: str, port: int) -> None:
    assert rules.place(POLICY, host, port, GIT) == rules.Verdict(False, "-", rules.UNMATCHED)


def test_clone_passes_and_push_does_not() -> None:
    assert through("GET", "/acme/api.git/info/refs?service=git-upload-pack")
    assert through("POST", "/acme/api.git/git-upload-pack")
    assert not through("GET", "/acme/api.git/info/refs?service=git-receive-pack")
    assert not through("POST", "/acme/api.git/git-receive-pack")


def test_access_presets_denials_and_audit() -> None:
    assert through("GET", "/any", access="read-only")
    assert not through("POST", "/any", access="read-only")
    assert through("DELETE", "/any", access="full")
    assert not through("GET", "/any", access="full", denyRules=[{"method": "GET", "path": "/any"}])
    assert through("DELETE", "/any", enforcement="audit")


def test_a_star_stands_for_one_label() -> None:
    assert rules.host_matches("*.example.com", "a.example.com")
    assert not rules.host_matches("*.example.com", "a.b.example.com")
    assert rules.host_matches("**.example.com", "a.b.example.com")


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1"])
def test_some_addresses_are_never_reached(address: str) -> None:
    assert rules.address_refused(address, {"host": "git.example.com"})


def test_private_addresses_need_an_exact_name() -> None:
    assert not rules.address_refused("192.0.2.9", {"host": "git.example.com"})
    assert rules.address_refused("10.1.2.3", {"host": "*.example.com"})
    assert not rules.address_refused("10.1.2.3", {"host": "*.example.com", "allowedIps": ["10.0.0.0/8"]})


def test_a_placeholder_becomes_the_credential_only_towards_its_host() -> None:
    word = "openshell:resolve:env:v1_TOKEN"
    known = {word: {"value": "real", "bound": [["git.example.com", 443]]}}
    basic = "Basic " + base64.b64encode(f"x-access-token:{word}".encode()).decode()
    request = Request("GET", f"/?key={word}", [("Authorization", basic)])
    put = secrets.put_in(request, known, "git.example.com", 443)
    assert put.target == "/?key=real"
    assert base64.b64decode(put.headers[0][1].removeprefix("Basic ")) == b"x-access-token:real"
    with pytest.raises(secrets.Mismatch):
        secrets.put_in(request, known, "evil.example.com", 443)
    with pytest.raises(secrets.Mismatch):
        secrets.put_in(request, {}, "git.example.com", 443)
