"""What doctor and verify make of what was seen."""

from dataclasses import replace

import pytest

from pifleet.doctor import judge as judge_host
from pifleet.fleet import Fleet, Host, Limits, Model, Sandbox
from pifleet.verify import WORD
from pifleet.verify import judge as judge_sandbox

GIB = 1 << 30
SEEN = {
    "os": {"id": "debian", "version": "12"}, "arch": "x86_64", "python": "3.11.2", "memory": 8 * GIB,
    "disk": {"/var/lib/pifleet": {"free": 50 * GIB, "size": 100 * GIB}},
    "engine": {"answers": True, "version": "26.1.5+dfsg1"}, "foreign": [], "unknown": {},
}
BOX = Sandbox("ana", "main", "docker", "dry", Limits(), repos=("web",))
FLEET = Fleet("acme", {"farm-1": Host("farm-1", ("pifleet_docker",))}, (BOX,), models={"dry": Model("dry", "scripted")})
FOUND = {
    "uid": BOX.uid, "capabilities": "0000000000000000", "interfaces": ["lo"], "read_only": True, "keys": [],
    "model": "d39e31b8", "pi": FLEET.image.pi_version, "repos": {"web": "667851ba"}, "answer": WORD,
}


def verdicts(checks):
    return {check.name: check.verdict for check in checks}


class TestHost:
    def test_that_is_as_it_should_be_passes_every_check(self):
        assert set(verdicts(judge_host("farm-1", SEEN)).values()) == {"pass"}

    @pytest.mark.parametrize(("name", "seen", "verdict"), [
        ("system", {"os": {"id": "debian", "version": "11"}}, "fail"),
        ("system", {"os": {"id": "fedora", "version": "43"}}, "fail"),
        ("system", {"os": {"id": "debian", "version": ""}}, "pass"),
        ("system", {"os": {"id": "ubuntu", "version": "22.04"}}, "pass"),
        ("processor", {"arch": "riscv64"}, "fail"),
        ("python", {"python": "3.8.10"}, "fail"),
        ("disk", {"disk": {"/var/lib/pifleet": {"free": 1000, "size": GIB}}}, "fail"),
        ("memory", {"memory": 100_000_000}, "fail"),
        ("engine", {"engine": {"answers": False, "error": "no socket"}}, "warn"),
        ("engine", {"engine": {"answers": True, "version": "19.03.1"}}, "fail"),
        ("in the way", {"foreign": ["account pi-ana exists and is not this fleet's"]}, "fail"),
        ("seen", {"unknown": {"users": "took too long"}}, "warn"),
    ])
    def test_that_is_not_says_so_and_what_to_do(self, name, seen, verdict):
        checks = [check for check in judge_host("farm-1", {**SEEN, **seen}) if check.name == name]

        assert [check.verdict for check in checks] == [verdict]
        assert verdict == "pass" or checks[0].try_

    def test_whose_sandboxes_may_use_more_memory_than_it_has_is_a_warning(self):
        assert verdicts(judge_host("farm-1", SEEN, promised=9 * GIB))["memory"] == "warn"


class TestSandbox:
    def test_that_holds_its_promises_passes_every_check(self):
        assert set(verdicts(judge_sandbox(FLEET, BOX, FOUND)).values()) == {"pass"}

    @pytest.mark.parametrize(("name", "found"), [
        ("user", {"uid": 0}),
        ("capabilities", {"capabilities": "00000000a80425fb"}),
        ("network", {"interfaces": ["eth0", "lo"]}),
        ("root", {"read_only": False}),
        ("keys", {"keys": ["ANTHROPIC_API_KEY"]}),
        ("model gateway", {"model": None}),
        ("pi", {"pi": "0.1.0"}),
        ("pi answers", {"answer": None}),
        ("repo web", {"repos": {"web": None}}),
        ("repo web", {"repos": "nonsense"}),
    ])
    def test_that_breaks_one_fails_that_check_alone(self, name, found):
        failed = [check for check in judge_sandbox(FLEET, BOX, {**FOUND, **found}) if check.verdict == "fail"]

        assert [check.name for check in failed] == [name]
        assert failed[0].try_

    def test_that_says_nothing_fails_everything(self):
        assert set(verdicts(judge_sandbox(FLEET, BOX, {})).values()) == {"fail"}

    def test_with_a_model_that_costs_is_given_no_prompt(self):
        real = replace(FLEET, models={"dry": Model("dry", "anthropic-messages", "https://model.example")})

        assert "pi answers" not in verdicts(judge_sandbox(real, BOX, FOUND))
