"""What the plan names, and why."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from pifleet.errors import Trouble
from pifleet.fleet import Model
from pifleet.patterns import compare
from pifleet.plan import Plan, Step
from pifleet.secret import SecretSource
from tests.unit.fleets import as_it_should_be, box, fleet, spec


def steps(wanted: dict[str, Any], seen: dict[str, Any]) -> list[Step]:
    return [step for step in compare(wanted, seen) if step]


@pytest.fixture
def wanted() -> dict[str, Any]:
    keyed = Model("paid", "anthropic-messages", "https://api.example.com", SecretSource("env", "KEY"), ("m-1",))
    models = {"dry": Model("dry", "scripted"), "paid": keyed}
    return spec(fleet(box(), box("bo/main", model="paid"), models=models))


def test_a_host_that_is_as_its_spec_says_has_no_step(wanted: dict[str, Any]) -> None:
    assert steps(wanted, as_it_should_be(wanted)) == []


def test_a_bare_host_needs_everything_and_each_step_says_so(wanted: dict[str, Any]) -> None:
    bare = {"engine": {"answers": False}, **{k: {} for k in (
        "images", "users", "packages", "services", "sockets", "filters", "clients", "containers", "repos", "paths")}}

    found = steps(wanted, bare)

    assert {step.action for step in found} == {"create", "change"}
    assert [step.item for step in found if step.action == "change"] == ["engine"]
    assert {step.kind for step in found} == {"host", "image", "repo", "sandbox", "access"}
    assert len({step.id for step in found}) == len(found)


def container(seen: dict[str, Any], name: str = "pi-ana-main") -> dict[str, Any]:
    return next(value for key, value in seen["containers"].items() if key == name)


def _set(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def damage(seen: dict[str, Any]) -> None:
        for key in keys[:-1]:
            seen = seen[key]
        seen[keys[-1]] = to
    return damage


BOX = "pi-ana-main"
GATEWAY = "/etc/pifleet/gateway/nginx.conf"
DAMAGES = [
    ("container removed", _set("containers", BOX, to=None), "container", "create", "container is missing"),
    ("container stopped", _set("containers", BOX, "state", to="exited"), "container", "change", "container is exited"),
    ("container paused", _set("containers", BOX, "state", to="paused"), "container", "change", "container is paused"),
    ("one more mount", lambda seen: seen["containers"][BOX]["spec"].update(mounts=[["/", "/host", "rw"]]),
     "container", "replace", "mounts differs"),
    ("other limits", lambda seen: seen["containers"][BOX]["spec"].update(memory=1, memory_swap=1),
     "container", "change", "memory, memory_swap differ"),
    ("other limits and stopped", lambda seen: seen["containers"].update(
        {BOX: {**seen["containers"][BOX], "state": "exited", "spec": {**seen["containers"][BOX]["spec"], "pids": 0}}}),
     "container", "change", "container is exited"),
    ("another image", lambda seen: seen["containers"][BOX]["spec"].update(image="sha256:2"),
     "container", "replace", "image differs"),
    ("a network", lambda seen: seen["containers"][BOX]["spec"].update(network="bridge"),
     "container", "replace", "network differs"),
    ("user removed", _set("users", "pi-ana", to=None), "user pi-ana", "create", "missing"),
    ("another uid", _set("users", "pi-ana", "uid", to=1000), "user pi-ana", "change", "uid differs"),
    ("a foreign comment", _set("users", "pi-ana", "gecos", to="Ana"), "user pi-ana", "change", "gecos differs"),
    ("gateway killed", _set("services", "pifleet-gateway", "running", to=False),
     "service pifleet-gateway", "change", "running differs"),
    ("a key that the gateway was not told of", _set("services", "pifleet-gateway", "current", to=False),
     "service pifleet-gateway", "change", "current differs"),
    ("a tunnel that nobody needs", lambda seen: seen["services"].update({"pifleet-tunnel-old": {"wanted": False}}),
     "service pifleet-tunnel-old", "change", "no longer needed"),
    ("configuration edited", _set("paths", GATEWAY, "sha256", to="0"), GATEWAY, "change", "sha256 differs"),
    ("key edited", _set("paths", "/etc/pifleet/gateway/keys/paid.conf", "hmac", to="0"),
     "/etc/pifleet/gateway/keys/paid.conf", "change", "hmac differs"),
    ("a link instead of the key", _set("paths", "/etc/pifleet/gateway/keys/paid.conf", to={"type": "link"}),
     "/etc/pifleet/gateway/keys/paid.conf", "change", "type, mode, uid, gid, hmac differ"),
    ("engine stopped", lambda seen: seen.update(engine={"answers": False}), "engine", "change",
     "answers, live_restore, at_least differ"),
    ("an old engine", _set("engine", "version", to="19.03.8"), "engine", "change", "at_least differs"),
    ("nginx gone", _set("packages", "nginx", to=False), "package nginx", "create", "missing"),
    ("a repository gone", lambda seen: seen["repos"].update({"ana/main": {"web": None}}), "web", "create",
     "not cloned yet: https://git.example.com/acme/web.git at main"),
]


@pytest.mark.parametrize(
    ("damage", "item", "action", "why"), [row[1:] for row in DAMAGES], ids=[row[0] for row in DAMAGES]
)
def test_damage_is_named_with_its_reason(
    wanted: dict[str, Any], damage: Callable[[dict[str, Any]], None], item: str, action: str, why: str
) -> None:
    seen = copy.deepcopy(as_it_should_be(wanted))
    damage(seen)

    [step] = steps(wanted, seen)

    assert (item, action, why) == (step.item, step.action, step.why)


def test_a_socket_that_another_configuration_answers_is_drift(wanted: dict[str, Any]) -> None:
    seen = as_it_should_be(wanted)
    path = wanted["sockets"][0]["path"]
    seen["sockets"][path] = {"answers": True, "answer": "old"}

    [step] = steps(wanted, seen)

    assert (step.item, step.sandbox, step.before) == ("model socket", "ana/main", {"answer": "old"})


def test_a_moved_image_tag_is_drift_of_the_image_and_of_every_container(wanted: dict[str, Any]) -> None:
    seen = as_it_should_be(wanted)
    seen["images"][wanted["image"]["name"]] = {"id": "sha256:9", "hash": None, "entrypoint": None, "workdir": ""}

    assert [step.kind for step in steps(wanted, seen)] == ["image", "sandbox", "sandbox"]


def test_replacing_a_container_in_which_pi_works_is_destructive(wanted: dict[str, Any]) -> None:
    seen = as_it_should_be(wanted)
    container(seen)["spec"]["mounts"] = []
    container(seen)["agent"] = {"processes": 1}

    [step] = steps(wanted, seen)

    assert step.destructive


def test_a_container_whose_processes_cannot_be_seen_counts_as_one_in_which_pi_works(wanted: dict[str, Any]) -> None:
    seen = as_it_should_be(wanted)
    container(seen)["spec"]["mounts"] = []
    container(seen)["agent"] = None

    [step] = steps(wanted, seen)

    assert step.destructive


def test_a_sandbox_gone_from_the_inventory_is_stopped_and_its_data_kept(wanted: dict[str, Any]) -> None:
    seen = as_it_should_be(wanted)
    labels = {"io.pifleet.fleet": "acme", "io.pifleet.sandbox": "dee/main"}
    seen["containers"]["pi-dee-main"] = {"spec": {"labels": labels}, "state": "running"}

    [step] = steps(wanted, seen)

    assert (step.sandbox, step.action, step.destructive) == ("dee/main", "stop", True)
    assert "its data is kept" in step.why


def test_containers_of_another_fleet_are_left_alone(wanted: dict[str, Any]) -> None:
    seen = as_it_should_be(wanted)
    seen["containers"]["pi-x"] = {"spec": {"labels": {"io.pifleet.fleet": "other"}}, "state": "running"}

    assert steps(wanted, seen) == []


def test_a_container_that_cannot_be_seen_is_never_called_right(wanted: dict[str, Any]) -> None:
    seen = as_it_should_be(wanted)
    seen.update(engine={"answers": False}, containers={}, images={}, unknown={"containers": "Docker did not answer"})

    whys = {step.why for step in steps(wanted, seen) if step.item == "container"}

    assert whys == {"cannot be seen: Docker did not answer"}


def test_the_document_counts_every_action_and_names_silent_hosts(wanted: dict[str, Any]) -> None:
    seen = as_it_should_be(wanted)
    seen["containers"]["pi-ana-main"] = None
    plan = Plan(tuple(steps(wanted, seen)), (("farm-2", Trouble("no answer")),), unchanged=7)

    document = plan.as_json()

    assert document["schema"] == "pifleet.plan/1"
    assert document["summary"] == {
        "create": 1, "change": 0, "replace": 0, "stop": 0, "remove": 0, "unchanged": 7, "unreachable": 1}
    assert document["unreachable"][0]["host"] == "farm-2"
    assert document["steps"][0]["id"] == "farm-1/sandbox/ana/main/container"


def test_no_value_of_a_secret_is_in_a_spec() -> None:
    keyed = Model("paid", "openai-completions", "https://api.example.com/v1", SecretSource("command", ("pass", "x")))
    made = spec(fleet(box(model="paid"), models={"paid": keyed}))

    assert made["secrets"] == [{
        "path": "/etc/pifleet/gateway/keys/paid.conf", "mode": "0600", "part": "model_gateway", "secret": "model:paid",
        "template": 'proxy_set_header Authorization "Bearer {}";\n', "hmac": "hmac of model:paid"}]
