"""What differs between a fleet's part of a gateway that others run and what was seen of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from pifleet.fleet import Gateway, Host
from pifleet.patterns.openshell import compare
from pifleet.patterns.openshell.client import client_of
from pifleet.patterns.openshell.elsewhere import CLIENT_PART
from pifleet.plan import Step
from tests.unit.test_openshell_plan import as_it_should_be, fleet, spec

OTHERS = Host("farm-3", ("pifleet_openshell_gateways",), gateway=Gateway("http://127.0.0.1:17670", "lab/pi:1"))
Json = dict[str, Any]


def wanted(**limits: Any) -> Json:
    of = replace(fleet(), hosts={"farm-3": OTHERS})
    box = of.sandboxes[0]
    return spec(of=replace(of, sandboxes=(replace(box, limits=replace(box.limits, **limits)),)))


def good() -> Json:
    """What a look tells where all is well; image and limits are what the sandbox's label says."""
    should = wanted()
    own = copy.deepcopy(should)
    own["openshell"]["gateway"]["image"] |= {"hash": ""}
    seen = as_it_should_be(own)
    version = should["openshell"]["gateway"]["version"]
    return {**seen, "programs": {"command": version, "intact": True}, "image": {"id": "lab/pi:1"},
            "gateway": {"answers": True, "version": version, "registered": True, "policy_of_all": False},
            "sandboxes": {name: {**one, "image": "lab/pi:1"} for name, one in seen["sandboxes"].items()}}


def steps(seen: Json, should: Json | None = None) -> list[Step]:
    return [step for step in compare(should or wanted(), {"openshell": seen}) if step]


def test_a_part_that_is_as_it_should_be_has_no_step() -> None:
    assert steps(good()) == []


@pytest.mark.parametrize(("name", "value", "item"), [
    ("programs", {"command": "0.0.99", "intact": True}, "openshell client"),
    ("gateway", {"answers": True, "version": "0.1.5", "registered": True}, "gateway of others"),
    ("gateway", {"answers": False, "version": "", "registered": False}, "gateway of others"),
    ("gateway", {**good()["gateway"], "policy_of_all": True}, "gateway of others"),
])
def test_what_differs_of_client_and_gateway_is_one_step_of_the_clients_role(name: str, value: Json, item: str) -> None:
    found = steps({**good(), name: value})

    assert [(step.item, step.part) for step in found if step.kind == "host"] == [(item, CLIENT_PART)]


def test_where_it_does_not_answer_that_is_said_and_nothing_is_taken_for_missing() -> None:
    gateway = {"answers": False, "version": "", "registered": True, "error": "connection refused"}
    found = [step for step in compare(wanted(), {
        "openshell": {**good(), "gateway": gateway, "workspaces": {}, "sandboxes": {}},
        "unknown": {"openshell": "connection refused"}}) if step]

    assert [(step.item, step.why) for step in found if step.kind != "repo"] == [
        ("gateway of others", "answers, version differ: connection refused"),
        ("sandbox", "cannot be seen: connection refused")]


def test_settings_for_all_sandboxes_are_the_business_of_whoever_runs_the_gateway() -> None:
    seen = good()
    seen["gateway"]["settings"] = {"ocsf_json_enabled": "true"}

    assert steps(seen) == []


def test_another_limit_gives_another_label_and_means_a_new_sandbox() -> None:
    seen = good()
    for one in seen["sandboxes"].values():
        one.update(image=None, cpus=None, memory=None)  # what There tells where labels differ

    assert [(step.action, step.item) for step in steps(seen, wanted(memory=1 << 30)) if step.kind == "sandbox"] == [
        ("replace", "sandbox")]
    boxes = [should["openshell"]["sandboxes"][0]["labels"]["pifleet.made-of"] for should in (wanted(), wanted(cpus=1))]
    assert len(set(boxes)) == 2


def test_each_gateways_client_has_a_folder_of_its_own() -> None:
    other = replace(OTHERS, name="lab-2")

    assert len({client_of(host).folder for host in (OTHERS, other, Host("farm-4", ("pifleet_openshell",)))}) == 3
