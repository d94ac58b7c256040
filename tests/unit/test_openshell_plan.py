"""What differs between a gateway as it should be and as it was seen, and what is done about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pifleet.desired import host_spec
from pifleet.fleet import Connection, Fleet, Host, Limits, Model, OpenShell, Package, Repo, Sandbox
from pifleet.patterns.openshell import compare, complete, cut, titles
from pifleet.plan import Step
from pifleet.secret import Secret, SecretSource

IMAGE = "sha256:1"
Json = dict[str, Any]
Change = Callable[[Json], object]


def fleet(**changes: Any) -> Fleet:
    box = Sandbox("ana", "main", "openshell", "claude", Limits(), ("web",))
    plain: Json = {
        "repos": {"web": Repo("web", "https://git.example.com/web.git", "main")},
        "models": {"claude": Model("claude", "anthropic-messages", "https://api.example.com",
                                   SecretSource("env", "KEY"), ("claude-1",))},
        "openshell": OpenShell("0.0.111", (Package("a" * 64, file="/tmp/openshell.deb"),)),
    }
    host = Host("farm-3", ("pifleet_openshell",), Connection(address="farm-3"))
    return Fleet("acme", {"farm-3": host}, (box,), **{**plain, **changes})


def spec(key: str = "one", of: Fleet | None = None) -> Json:
    of = of or fleet()
    made = host_spec(of, "farm-3", of.sandboxes, Path("/cache"))
    complete(made, {"model:claude": Secret(key)}.get, "")
    return made


def as_it_should_be(wanted: Json) -> Json:
    shell = wanted["openshell"]
    workspace, box = shell["workspaces"][0], shell["sandboxes"][0]
    provider = workspace["provider"]
    version = shell["gateway"]["version"]
    return {
        "programs": {"command": version, "gateway": version, "supervisor": True, "intact": True},
        "gateway": {"answers": True, "version": version, "certificates": True, "registered": True,
                    "settings": {}, "policy_of_all": False},
        "left": [],
        "image": {"id": IMAGE, "base": shell["gateway"]["image"]["hash"], "user": "pi", "seed_name": True},
        "workspaces": {workspace["name"]: {
            "phase": "Active", "route": {"provider": provider["name"], "model": workspace["model"]},
            "providers": {provider["name"]: {"type": provider["type"], "credential_keys": [provider["credential"]],
                                             "config_keys": sorted(provider["config"])}},
        }},
        "sandboxes": {f"{box['workspace']}/{box['name']}": {
            "phase": "Ready", "labels": box["labels"], "image": IMAGE, "cpus": box["cpus"], "memory": box["memory"],
            "policy": box["policy"], "repos": {"web": True}, "agent": {"processes": 0},
            "container": "c0ffee", "set": {},
            "settings": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in box["settings"].items()},
        }},
    }


def steps(change: Change = lambda seen: None, wanted: Json | None = None) -> list[Step]:
    wanted = wanted or spec()
    seen = as_it_should_be(spec())
    change(seen)
    return [step for step in compare(wanted, {"openshell": seen}) if step]


def box_of(seen: Json) -> Json:
    made: Json = seen["sandboxes"]["pi-ana/ana-main"]
    return made


def test_a_gateway_that_is_as_it_should_be_has_no_step() -> None:
    assert steps() == []


def test_a_host_without_the_pattern_has_no_step() -> None:
    assert list(compare({"host": "farm-1", "openshell": None}, {"openshell": {}})) == []


def test_a_host_on_which_nothing_was_seen_gets_everything() -> None:
    made = [(step.action, step.item) for step in steps(dict.clear)]

    assert made == [
        ("create", "openshell"), ("create", "openshell gateway"),
        ("create", spec()["openshell"]["gateway"]["image"]["name"]),
        ("create", "workspace pi-ana"), ("create", "provider pi-ana"), ("create", "route pi-ana"),
        ("create", "web"), ("create", "sandbox"),
    ]


def put(*path: str, value: Any) -> Change:
    def change(seen: Json) -> None:
        *folders, last = path
        for folder in folders:
            seen = seen[folder]
        seen[last] = value

    return change


def in_box(name: str, value: Any) -> Change:
    return lambda seen: box_of(seen).update({name: value})


WORKSPACE = ("workspaces", "pi-ana")
DRIFT: list[tuple[str, Change, tuple[str, str], str]] = [
    ("another command", put("programs", "command", value="0.0.99"), ("change", "openshell"), "command differs"),
    ("another gateway", put("programs", "gateway", value="0.1.5"), ("change", "openshell"), "gateway differs"),
    ("a program written over", put("programs", "intact", value=False), ("change", "openshell"), "intact differs"),
    ("a setting for all sandboxes", put("gateway", "settings", value={"ocsf_json_enabled": "true"}),
     ("change", "openshell gateway"), "settings differs"),
    ("a policy for all sandboxes", put("gateway", "policy_of_all", value=True), ("change", "openshell gateway"),
     "policy_of_all differs"),
    ("a setting of one sandbox", in_box("set", {"proposal_approval_mode": "auto"}), ("change", "sandbox"),
     "set by hand differs"),
    ("no supervisor", put("programs", "supervisor", value=False), ("change", "openshell"), "supervisor differs"),
    ("a gateway that is off", put("gateway", "answers", value=False), ("change", "openshell gateway"),
     "answers differs"),
    ("a gateway of another version", put("gateway", "version", value="0.1.5"), ("change", "openshell gateway"),
     "version differs"),
    ("a wrong registration", put("gateway", "registered", value=False), ("change", "openshell gateway"),
     "registered differs"),
    ("lost certificates", put("gateway", "certificates", value=False), ("change", "openshell gateway"),
     "certificates differs"),
    ("an image of yesterday", put("image", "base", value="0"), ("change", "NAME"), "base differs"),
    ("a moved tag", put("image", "seed_name", value=False), ("change", "NAME"), "seed_name differs"),
    ("a workspace that ends", put(*WORKSPACE, "phase", value="Terminating"), ("change", "workspace pi-ana"),
     "phase differs"),
    ("a removed provider", put(*WORKSPACE, "providers", value={}), ("create", "provider pi-ana"), "missing"),
    ("a removed route", put(*WORKSPACE, "route", value=None), ("create", "route pi-ana"), "missing"),
    ("a route to another model", put(*WORKSPACE, "route", "model", value="other"), ("change", "route pi-ana"),
     "model differs"),
    ("a stopped sandbox", in_box("phase", "Stopped"), ("change", "sandbox"), "sandbox is Stopped"),
    ("another image", in_box("image", "sha256:2"), ("replace", "sandbox"),
     "image differs, and cannot be changed in place"),
    ("other limits", lambda seen: box_of(seen).update(cpus=9.0, memory=1), ("replace", "sandbox"),
     "cpus, memory differ, and cannot be changed in place"),
    ("changed settings", in_box("settings", {}), ("change", "sandbox"), "settings differs"),
    ("another network policy", lambda seen: box_of(seen)["policy"].update(network_policies={"x": {}}),
     ("change", "sandbox"), "network_policies differs"),
    ("another file system policy", lambda seen: box_of(seen)["policy"].update(filesystem_policy={}),
     ("replace", "sandbox"), "filesystem_policy differs, and cannot be changed in place"),
    ("weaker landlock", lambda seen: box_of(seen)["policy"].pop("landlock"), ("replace", "sandbox"),
     "landlock differs, and cannot be changed in place"),
    ("a lost repository", in_box("repos", {"web": False}), ("create", "web"),
     "not there: https://git.example.com/web.git at main"),
]


@pytest.mark.parametrize(("change", "done", "why"), [row[1:] for row in DRIFT], ids=[row[0] for row in DRIFT])
def test_drift_is_named_and_has_one_step(change: Change, done: tuple[str, str], why: str) -> None:
    made = steps(change)
    item = spec()["openshell"]["gateway"]["image"]["name"] if done[1] == "NAME" else done[1]

    # With a new sandbox its repositories come anew.
    repos = [("create", "web", "not there: https://git.example.com/web.git at main")] if done[0] == "replace" else []
    assert [(step.action, step.item, step.why) for step in made] == [*repos, (done[0], item, why)]


def test_a_removed_sandbox_is_made_again_with_its_repositories() -> None:
    made = steps(put("sandboxes", value={}))

    assert [(step.action, step.item) for step in made] == [("create", "web"), ("create", "sandbox")]


def test_a_sandbox_without_its_container_holds_nothing_that_could_be_rescued() -> None:
    made = steps(lambda seen: box_of(seen).update(phase="Error", container=None))

    assert [(step.action, step.why) for step in made if step.kind == "sandbox"] == [("create", "its container is gone")]


def test_a_sandbox_that_nobody_can_be_asked_about_is_not_made_a_second_time() -> None:
    made = steps(lambda seen: box_of(seen).update(phase="Unknown", policy=None))

    assert [(step.action, step.why) for step in made] == [("change", "its gateway does not answer")]


def test_a_gateway_that_does_not_answer_does_not_say_that_it_has_no_sandbox() -> None:
    seen = as_it_should_be(spec())
    silent = {**seen, "gateway": {**seen["gateway"], "answers": False}, "sandboxes": {}}
    unknown = {**silent, "gateway": {**silent["gateway"], "registered": False}}

    assert [titles({"openshell": one}, "acme") for one in (seen, silent, unknown)] == [["ana/main"], None, []]


def test_what_took_too_long_to_look_at_is_said_to_be_unseen_and_not_to_be_missing() -> None:
    made = compare(spec(), {"openshell": {}, "unknown": {"openshell": "took longer than 15 s"}})

    assert [step.why for step in made if step and step.kind == "sandbox"] == ["cannot be seen: took longer than 15 s"]


def test_under_a_policy_of_all_no_sandbox_is_judged_by_a_policy_that_is_not_its_own() -> None:
    def change(seen: Json) -> None:
        seen["gateway"]["policy_of_all"], box_of(seen)["policy"] = True, None

    assert [step.item for step in steps(change)] == ["openshell gateway"]


def test_a_workspace_that_nobody_is_in_loses_its_key() -> None:
    made = steps(put("left", value=["pi-bo"]))
    kept = cut(spec(), {"openshell": {**as_it_should_be(spec()), "left": ["pi-bo"]}}, made)["openshell"]

    assert [(step.kind, step.action, step.item) for step in made] == [("access", "change", "key in workspace pi-bo")]
    assert (kept["left"], kept["sandboxes"]) == ([{"name": "pi-bo"}], [])


def test_phase_error_means_a_new_sandbox_and_says_what_the_old_one_said_last() -> None:
    made = steps(lambda seen: box_of(seen).update(phase="Error", reason="main process ended"))

    assert [(step.action, step.why) for step in made if step.kind == "sandbox"] == [
        ("replace", "sandbox is in phase Error, which is final: main process ended")]


def test_another_key_means_another_provider_and_the_key_is_in_no_name() -> None:
    made = steps(wanted=spec("two"))

    assert [step.item for step in made] == ["provider pi-ana", "route pi-ana"]
    assert "two" not in str(spec("two"))


def test_a_look_without_secrets_does_not_judge_providers() -> None:
    wanted = spec()
    wanted["openshell"]["workspaces"][0]["provider"]["name"] = ""

    assert steps(wanted=wanted) == []


def test_replacing_a_sandbox_with_an_agent_at_work_is_destructive() -> None:
    at_work = steps(lambda seen: box_of(seen).update(image="sha256:2", agent={"processes": 1}))
    idle = steps(lambda seen: box_of(seen).update(image="sha256:2"))

    assert [step.destructive for step in (*at_work, *idle) if step.kind == "sandbox"] == [True, False]


def test_a_sandbox_that_left_the_inventory_is_stopped_and_one_of_others_is_left_alone() -> None:
    def more(seen: Json) -> None:
        for name, owner in (("old", "acme"), ("foreign", "other")):
            labels = {"pifleet.fleet": owner, "pifleet.sandbox": f"bo.{name}"}
            seen["sandboxes"][f"pi-bo/{name}"] = {"phase": "Ready", "labels": labels}

    made = steps(more)

    assert [(step.action, step.sandbox, step.destructive) for step in made] == [("stop", "bo/old", True)]
    seen = as_it_should_be(spec())
    more(seen)
    kept = cut(spec(), {"openshell": seen}, made)["openshell"]
    assert kept
    assert [(one["workspace"], one["name"]) for one in kept["orphans"]] == [("pi-bo", "old")]
    assert kept["sandboxes"] == []


def test_a_sandbox_may_be_ended_only_where_a_step_says_so() -> None:
    replaced = steps(in_box("image", "sha256:2"))
    changed = steps(in_box("settings", {}))

    for made, wanted in ((replaced, True), (changed, False)):
        kept = cut(spec(), {"openshell": as_it_should_be(spec())}, made)["openshell"]
        assert kept
        assert [box["replace"] for box in kept["sandboxes"]] == [wanted]
