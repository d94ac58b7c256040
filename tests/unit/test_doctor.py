"""What doctor makes of what was seen."""

import pytest

from pifleet.doctor import judge as judge_host
from pifleet.fleet import Fleet, Gateway, Host, OpenShell
from pifleet.patterns.openshell import needs

GIB = 1 << 30
SEEN = {
    "os": {"id": "debian", "version": "12"}, "arch": "x86_64", "python": "3.11.2", "memory": 8 * GIB,
    "disk": {"/var/lib/pifleet": {"free": 50 * GIB, "size": 100 * GIB}},
    "engine": {"answers": True, "version": "26.1.5+dfsg1"}, "foreign": [], "unknown": {},
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


GATEWAY = {
    "kernel": "6.12.1-amd64", "engine": {"answers": True, "version": "28.5.2"},
    "openshell": {"programs": {"command": "0.0.111", "gateway": "0.0.111"}, "gateway": {"version": "0.0.111"}},
}

FLEET = Fleet("acme", {
    "farm-3": Host("farm-3", ("pifleet_openshell",)),
    "lab": Host("lab", ("pifleet_openshell_gateways",), gateway=Gateway("http://127.0.0.1:17670")),
}, (), openshell=OpenShell("0.0.111"))


class TestGateway:
    def test_that_is_right_passes(self):
        assert verdicts(needs(FLEET, "farm-3", GATEWAY)) == {"landlock": "pass", "openshell": "pass"}

    @pytest.mark.parametrize(("name", "seen", "verdict"), [
        ("landlock", {"kernel": "5.10.0-30-amd64"}, "fail"),
        ("engine for openshell", {"engine": {"answers": True, "version": "26.1.5"}}, "fail"),
        ("openshell", {"openshell": {}}, "warn"),
        ("openshell", {"openshell": {**GATEWAY["openshell"], "gateway": {"version": "0.1.5"}}}, "warn"),
    ])
    def test_that_is_not_says_so(self, name, seen, verdict):
        assert verdicts(needs(FLEET, "farm-3", {**GATEWAY, **seen}))[name] == verdict

    def test_of_another_version_is_told_with_both_versions(self):
        gateway = {"programs": {"command": "0.0.99", "gateway": "0.1.5"}, "gateway": {"version": "0.1.5"}}
        said = [check for check in needs(FLEET, "farm-3", {**GATEWAY, "openshell": gateway})
                if check.name == "openshell"]

        assert said[0].text == "command 0.0.99, gateway 0.1.5"
        assert "0.0.111" in said[0].try_

    @pytest.mark.parametrize(("command", "gateway", "verdict"), [
        ("0.0.111", {"registered": True, "answers": True, "version": "0.0.111"}, "pass"),
        ("0.0.111", {"registered": True, "answers": True, "version": "0.0.99"}, "fail"),
        ("0.0.111", {"registered": True, "answers": False, "error": "connection refused"}, "warn"),
        ("0.0.111", {"registered": False}, "warn"),
        ("", {"registered": True, "answers": False}, "warn"),
    ])
    def test_that_others_run_is_judged_by_its_version_once_its_client_is_there(self, command, gateway, verdict):
        seen = {**GATEWAY, "kernel": "4.19.0", "openshell": {"programs": {"command": command}, "gateway": gateway}}
        assert verdicts(needs(FLEET, "lab", seen)) == {"gateway of others": verdict}
