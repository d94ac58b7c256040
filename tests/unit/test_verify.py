"""What verify makes of what was found, and of what a sandbox that lies may say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pifleet.cli.tables import verified
from pifleet.egress import Destination
from pifleet.fleet import Fleet, Host, Limits, Model, Repo, Sandbox
from pifleet.operate import Did
from pifleet.patterns.openshell.desired import SANDBOX_UID
from pifleet.report import Check
from pifleet.sandbox.verify_agent import PROOF
from pifleet.verify import proof
from pifleet.verify.found import WORD, Found
from pifleet.verify.openshell import _scripted
from pifleet.verify.rows import Rows
from pifleet.verify.targets import direct

BOX = Sandbox("ana", "main", "docker", "paid", Limits(), repos=("web",))
FLEET = Fleet(
    "acme", {"farm-1": Host("farm-1", ("pifleet_docker",))}, (BOX,),
    repos={"web": Repo("web", "ssh://git@git.example.com/acme/web.git", "main")},
    models={"paid": Model("paid", "openai-responses", "https://llm.example.com/v1", proxy="http://proxy:3128")},
)
LISTED = (Destination("a.example", 443), Destination(".b.example", 80, plain=True))
NONE = "0000000000000000"
INSIDE: dict[str, Any] = {
    "uid": BOX.uid, "capabilities": dict.fromkeys(("CapEff", "CapPrm", "CapBnd", "CapAmb"), NONE),
    "no_new_privileges": True, "seccomp": True, "interfaces": ["lo"], "read_only": True, "keys": [],
    "limits": {"memory": BOX.limits.memory, "pids": BOX.limits.pids, "cpus": 2.0}, "model": "d39e31b8",
    "pi": FLEET.image.pi_version, "repos": {"web": {"head": "667851ba", "base": True}}, "answer": f"{WORD}: {PROOF}",
}
OUTSIDE: dict[str, Any] = {
    "keys": {"known": 1, "found": [], "processes": 3, "bytes": 1 << 20, "whole": True}, "bases": {"web": "667851ba"}}
TRIED: dict[str, Any] = {"tcp to metadata": {"refused": True, "how": "ENETUNREACH"},
                         "become root": {"refused": True, "how": "EPERM"}}


def verdicts(inside: object = None, outside: object = None, tried: object = None) -> dict[str, str]:
    said = Found({**INSIDE, **(inside or {})}, {**OUTSIDE, **(outside or {})}, TRIED if tried is None else tried)
    return {check.name.strip(): check.verdict for check in judged(said)}


def judged(said: Found, box: Sandbox = BOX, fleet: Fleet = FLEET) -> list[Check]:
    return proof(box.pattern).judge(fleet, box, said, Rows(box))


def test_a_sandbox_that_holds_its_promises_passes_every_check():
    assert set(verdicts().values()) == {"pass", "note"}


@pytest.mark.parametrize(("name", "inside"), [
    ("user", {"uid": 0}),
    ("capabilities", {"capabilities": {"CapEff": NONE, "CapBnd": "00000000a80425fb"}}),
    ("privileges", {"no_new_privileges": False}),
    ("privileges", {"seccomp": None}),
    ("network", {"interfaces": ["eth0", "lo"]}),
    ("root", {"read_only": False}),
    ("limit of memory", {"limits": {**INSIDE["limits"], "memory": None}}),
    ("limit of pids", {"limits": {**INSIDE["limits"], "pids": 9999}}),
    ("limit of cpus", {"limits": {**INSIDE["limits"], "cpus": "all"}}),
    ("names of keys", {"keys": ["ANTHROPIC_API_KEY"]}),
    ("model gateway", {"model": None}),
    ("pi", {"pi": "0.1.0"}),
    ("pi at work", {"answer": WORD}),
    ("pi at work", {"answer": None}),
    ("repo web", {"repos": {"web": None}}),
    ("repo web", {"repos": {"web": {"head": "667851ba", "base": False}}}),
    ("repo web", {"repos": "nonsense"}),
])
def test_one_that_breaks_a_promise_fails_that_check_alone(name, inside):
    assert [check for check, verdict in verdicts(inside).items() if verdict == "fail"] == [name]


@pytest.mark.parametrize(("keys", "verdict"), [
    ({"known": 0, "found": []}, "pass"),
    ({"known": 1, "found": ["memory of process 7"], "bytes": 9, "whole": True}, "fail"),
    ({"known": 1, "found": [], "bytes": 9, "whole": False}, "warn"),
    ({}, "fail"), (None, "fail"),
])
def test_keys_are_a_matter_of_the_host_s_word(keys, verdict):
    assert verdicts(outside={"keys": keys})["keys"] == verdict


@pytest.mark.parametrize("tried", [
    {**TRIED, "tcp to metadata": said} for said in ({"refused": False, "how": "connected"}, {"refused": "yes"}, "lies")
])
def test_a_way_out_is_named(tried):
    checks = {check.name.strip(): check for check in judged(Found(INSIDE, OUTSIDE, tried))}

    assert (checks["ways out"].verdict, checks["direct connections"].verdict, checks["other ways"].verdict) == (
        "fail", "fail", "pass")
    assert "tcp to metadata" in checks["ways out"].saw


@pytest.mark.parametrize("tried", [{}, [], "nothing", 7])
def test_attempts_that_were_not_made_are_no_pass(tried):
    assert verdicts(tried=tried)["ways out"] == "fail"


def test_one_that_says_nothing_passes_nothing():
    checks = judged(Found(), replace(BOX, egress=LISTED))

    assert {check.verdict for check in checks} == {"fail", "note"}
    assert all(check.try_ for check in checks if check.verdict == "fail")


def test_a_hypervisor_s_socket_that_could_be_opened_is_said():
    tried = {**TRIED, "the hypervisor's socket": {"refused": True, "how": "ECONNRESET"}}

    assert verdicts(tried=tried)["not enforced: vsock"] == "note"


@pytest.mark.parametrize(("reached", "verdict", "saw"), [
    ({"a.example:443": "answers", "http://.b.example:80": "answers"}, "pass", "http://.b.example:80, a.example:443"),
    ({"a.example:443": "answers", "http://.b.example:80": "silent"}, "warn", "nobody is there: http://.b.example:80"),
    ({"a.example:443": "refused", "http://.b.example:80": "answers"}, "warn", "without private: true: a.example:443"),
    ({"a.example:443": "closed", "http://.b.example:80": "answers"}, "fail", "no way out at all: a.example:443"),
    ({"a.example:443": ["answers"]}, "fail", "http://.b.example:80, a.example:443"),
    ("lies", "fail", ""), (None, "fail", ""),
])
def test_what_the_list_allows_has_to_be_let_through(reached: object, verdict: str, saw: str) -> None:
    found = Found(INSIDE, OUTSIDE, TRIED, reached)
    checks = {check.name: check for check in judged(found, replace(BOX, egress=LISTED))}

    assert checks["allowed"].verdict == verdict
    assert saw in checks["allowed"].saw
    assert "not enforced: egress" in checks


def test_what_the_host_s_own_clients_are_configured_for_is_allowed_too() -> None:
    clients = {"pip": {"urls": ["https://pypi.example/simple"], "files": ["https://files.example"], "why": ""}}
    found = Found(INSIDE, {**OUTSIDE, "clients": clients}, TRIED, {"pypi.example:443": "answers"})

    [check] = [check for check in judged(found, replace(BOX, egress_sets=("pip",))) if check.name == "allowed"]
    assert (check.verdict, check.saw) == ("fail", "no way out at all: files.example:443")


def test_what_the_host_reaches_for_it_is_tried_directly():
    assert list(direct(FLEET, BOX)) == [
        ("paid directly", "llm.example.com", 443), ("paid directly", "proxy", 3128),
        ("the origin of web", "git.example.com", 22)]


SHELL = replace(BOX, pattern="openshell", model="dry")
PLAYS = replace(FLEET, models={"dry": Model("dry", "scripted")})
POLICED = {**INSIDE, "uid": SANDBOX_UID, "outside": False, "interfaces": ["eth0", "lo"], "model": None}


def policed(inside: dict[str, Any], fleet: Fleet = PLAYS, tried: object = None) -> dict[str, str]:
    said = Found(inside, tried=TRIED if tried is None else tried)
    return {check.name.strip(): check.verdict for check in judged(said, SHELL, fleet)}


def test_a_sandbox_under_a_policy_is_held_against_that_and_what_is_not_looked_at_is_said() -> None:
    verdicts = policed(POLICED)
    assert verdicts["policy"] == "pass"
    assert "fail" not in verdicts.values()
    assert {"not enforced: supervisor", "not enforced: pids", "not enforced: keys"} <= verdicts.keys()


@pytest.mark.parametrize(("name", "inside"), [
    ("policy", {"outside": True}), ("policy", {"outside": None}), ("user", {"uid": 0}),
    ("names of keys", {"keys": ["ANTHROPIC_API_KEY"]}), ("pi at work", {"answer": None}),
])
def test_a_sandbox_whose_policy_does_not_hold_fails_that_check_alone(name: str, inside: dict[str, Any]) -> None:
    verdicts = policed({**POLICED, **inside})
    assert [check for check, verdict in verdicts.items() if verdict == "fail"] == [name]


@pytest.mark.parametrize(("found", "verdict"), [([], "pass"), (["/workspace/leaked"], "fail")])
def test_a_key_that_its_host_looked_for_is_judged_by_the_hosts_word(found: list[str], verdict: str) -> None:
    outside = {"keys": {"known": 1, "found": found, "processes": 4, "bytes": 1 << 20, "whole": True}}
    checks = {check.name.strip(): check for check in judged(Found(POLICED, outside, TRIED), SHELL, PLAYS)}

    assert checks["keys"].verdict == verdict


@pytest.mark.parametrize("tried", [
    {**TRIED, "proxy to metadata": {"refused": False, "how": "a way to 169.254.169.254:80"}}, {}, 7,
])
def test_a_way_past_a_policy_fails_and_so_does_what_was_not_tried(tried: object) -> None:
    assert policed(POLICED, tried=tried)["ways out"] == "fail"


def test_a_sandbox_that_reaches_only_a_model_that_costs_is_given_no_prompt() -> None:
    costs = replace(PLAYS, models={"dry": Model("dry", "anthropic-messages", "https://model.example")})
    assert not _scripted(costs, SHELL)
    assert policed({**POLICED, "answer": None}, costs)["pi at work"] == "note"


class TestPods:
    """What differs where a cluster's network closes the sandbox."""

    API = "tcp to the API server"

    def verdicts(self, tried: object) -> dict[str, str]:
        inside = {**INSIDE, "uid": 1000, "interfaces": ["eth0", "lo"], "limits": {**INSIDE["limits"], "pids": None}}
        found = Found(inside, {}, tried)
        return {check.name.strip(): check.verdict for check in judged(found, replace(BOX, pattern="pod"))}

    @pytest.mark.parametrize(("api", "verdict"), [
        ({"refused": True, "how": "TimeoutError"}, "pass"),
        ({"refused": False, "how": "connected"}, "warn"),
        (None, "warn"),
        ("nonsense", "warn"),
    ])
    def test_a_network_that_keeps_no_policy_is_said_and_fails_nothing(self, api, verdict):
        found = self.verdicts({**TRIED, self.API: api})
        assert found["network"] == verdict
        assert "fail" not in found.values()

    def test_what_is_sent_to_all_is_left_open_and_any_other_way_out_fails(self):
        sent = {"refused": False, "how": "sent to ('224.0.0.251', 5353)"}
        assert self.verdicts({**TRIED, "multicast": sent})["ways out"] == "pass"
        assert self.verdicts({**TRIED, "tcp to a router": {"refused": False, "how": "connected"}})["ways out"] == "fail"

    @pytest.mark.parametrize("tried", [None, "nonsense", {}])
    def test_attempts_that_were_not_made_fail(self, tried):
        assert self.verdicts(tried)["ways out"] == "fail"


def test_a_failed_proof_names_what_got_through() -> None:
    way_out = {**TRIED, "tcp to metadata": {"refused": False, "how": "connected"}}
    checks = proof("docker").judge(FLEET, BOX, Found(INSIDE, OUTSIDE, way_out, {}), Rows(BOX))

    outcome = verified(Did(BOX, "farm-1", checks))

    assert outcome.error
    assert "ways out: 2 tried, 1 refused: tcp to metadata (connected)" in outcome.error.saw
