"""What a host of pattern gondolin should have, what differs when it does not, and what doctor says before."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from pifleet import content
from pifleet.desired.clients import variables
from pifleet.fleet import Connection, Fleet, Host, Limits
from pifleet.patterns.gondolin import compare, cut, needs
from pifleet.patterns.gondolin.desired import OWN_MEMORY
from pifleet.pins import Package
from pifleet.plan import Step
from tests.unit.fleets import box, fleet, spec

Json = dict[str, Any]
Change = Callable[[Json], object]


def micro(**changes: Any) -> Fleet:
    hosts = {"farm-1": Host("farm-1", ("pifleet_gondolin",), Connection(address="farm-1"))}
    return Fleet("acme", hosts, (box(pattern="gondolin", **changes),), repos=fleet().repos, models=fleet().models)


def as_it_should_be(wanted: Json) -> Json:
    own = wanted["gondolin"]
    good = dict.fromkeys(("running", "enabled", "defined", "current"), True)
    return {
        "gondolin": {
            "qemu": "7.2.22", "kvm": True, "runtime": "1" * 64, "recorded": "1" * 64,
            "acceleration": f"tcg {own['runtime']['hash']}",
            "sandboxes": {one["id"]: {"title": one["title"], "fleet": "acme", "runtime": one["runtime"],
                                      "service": good, "agent": {"processes": 0}} for one in own["sandboxes"]},
        },
        "repos": {one["title"]: {"web": {"head": "1" * 40}} for one in own["sandboxes"]},
        "paths": {file["path"]: {"sha256": file["sha256"]} for file in wanted["files"]},
        "unknown": {},
    }


def steps(change: Change = lambda seen: None) -> list[Step]:
    wanted = spec(micro())
    seen = as_it_should_be(wanted)
    change(seen)
    return [step for step in compare(wanted, seen) if step]


def service(seen: Json) -> Json:
    made: Json = seen["gondolin"]["sandboxes"]["ana-main"]["service"]
    return made


def test_a_host_of_the_group_needs_no_engine() -> None:
    parts = spec(micro())["parts"]

    assert parts[-1] == "sandbox_gondolin"
    assert not {"docker", "pi_image"} & set(parts)


def test_the_agent_reaches_the_model_and_the_machine_the_proxy_and_neither_the_others_socket() -> None:
    sandbox = micro().sandboxes[0]

    assert sandbox.model_socket.parent != sandbox.egress_socket.parent


def test_the_guest_has_what_is_left_of_the_sandboxs_memory() -> None:
    wanted = spec(micro(limits=Limits(memory=2 << 30)))
    machine = next(file for file in wanted["files"] if file["path"].endswith("machine.json"))

    assert json.loads(machine["content"])["memory"] == (2 << 30) - OWN_MEMORY


def test_no_variable_of_the_guest_comes_from_the_host() -> None:
    machine = next(file for file in spec(micro())["files"] if file["path"].endswith("machine.json"))

    names = {name.upper() for name in json.loads(machine["content"])["env"]}
    assert names == {"PATH", "HOME", "LANG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}


def test_pip_and_npm_of_the_guest_look_where_the_hosts_own_do_if_the_sandbox_may() -> None:
    clients = {"pip": {"urls": ["https://a.lan/", "https://b.lan/"]}, "npm": {"urls": ["https://n.lan/"]}}

    assert variables(box(egress_sets=("pip", "npm")), clients) == {
        "PIP_INDEX_URL": "https://a.lan/", "PIP_EXTRA_INDEX_URL": "https://b.lan/",
        "npm_config_registry": "https://n.lan/"}
    assert variables(box(egress_sets=("npm",)), {**clients, "npm": None}) == {}


def test_a_host_that_is_as_it_should_be_has_no_step() -> None:
    assert steps() == []


def test_a_host_without_the_pattern_has_no_step() -> None:
    assert list(compare(spec(fleet()), {"gondolin": {}})) == []


def test_an_old_qemu_is_a_step() -> None:
    assert [step.item for step in steps(lambda seen: seen["gondolin"].update(qemu="6.2.0"))] == ["QEMU"]


def test_a_damaged_runtime_is_carried_again() -> None:
    step, places = steps(lambda seen: seen["gondolin"].update(runtime="2" * 64))

    assert (step.part, step.action) == ("gondolin", "change")
    assert (places.item, places.action) == ("places", "change")  # they run programs that are written anew


def test_acceleration_that_another_runtime_proved_is_proved_again() -> None:
    step, places = steps(lambda seen: seen["gondolin"].update(acceleration="kvm 0123456789ab"))

    assert (step.item, step.part) == ("acceleration", "gondolin")
    assert (places.item, places.action) == ("places", "change")  # they read how machines run


def test_places_that_run_with_old_settings_are_started_anew_unless_pi_works() -> None:
    [idle] = steps(lambda seen: service(seen).update(current=False))
    assert (idle.sandbox, idle.action, idle.destructive) == ("ana/main", "change", False)

    def at_work(seen: Json) -> None:
        service(seen).update(current=False)
        seen["gondolin"]["sandboxes"]["ana-main"]["agent"] = {"processes": 1}

    assert [step.destructive for step in steps(at_work)] == [True]


def test_places_are_started_anew_in_the_same_run_that_writes_what_they_read() -> None:
    place = "/usr/local/lib/pifleet/places/place.py"

    assert [step.item for step in steps(lambda seen: seen["paths"][place].update(sha256="old"))] == ["places"]


def test_a_sandbox_that_left_the_inventory_is_stopped_and_its_service_ended() -> None:
    wanted = spec(micro())
    seen = as_it_should_be(wanted)
    seen["gondolin"]["sandboxes"]["bo-main"] = {
        "title": "bo/main", "fleet": "acme", "runtime": "", "agent": {"processes": 0}, "service": {"running": True},
    }
    found = [step for step in compare(wanted, seen) if step]

    assert [(step.sandbox, step.action) for step in found] == [("bo/main", "stop")]
    assert [one["name"] for one in cut(wanted, seen, found)["gondolin"]["orphans"]] == ["pifleet-sandbox-bo-main"]


def test_a_sandbox_of_another_fleet_is_left_alone() -> None:
    wanted = spec(micro())
    seen = as_it_should_be(wanted)
    seen["gondolin"]["sandboxes"]["bo-main"] = {
        "title": "bo/main", "fleet": "other", "runtime": "", "agent": {"processes": 0}, "service": {"running": True},
    }

    assert [step for step in compare(wanted, seen) if step] == []


def test_doctor_says_before_anything_is_installed_that_a_system_has_too_old_a_qemu() -> None:
    seen = {"arch": "x86_64", "memory": 8 << 30, "os": {"id": "ubuntu", "version": "22.04"},
            "gondolin": {"qemu": "", "kvm": True}}
    found = {check.name: check for check in needs(micro(), "farm-1", seen)}

    assert found["qemu"].verdict == "fail"
    assert "6.2" not in found["qemu"].try_
    assert found["acceleration"].text.endswith("proves it by a boot")


def test_doctor_refuses_a_processor_that_the_runtime_is_not_made_for() -> None:
    seen = {"arch": "aarch64", "os": {"id": "debian", "version": "12"}, "gondolin": {}}

    assert next(iter(needs(micro(), "farm-1", seen))).verdict == "fail"


def test_a_published_guest_is_another_runtime_wherever_it_comes_from() -> None:
    def name(**guest: str) -> str:
        made = micro()
        pinned = replace(made.gondolin, guest=Package("1" * 64, **guest) if guest else None)
        return str(spec(replace(made, gondolin=pinned))["gondolin"]["runtime"]["hash"])

    assert name() != name(url="https://a.example.com/guest.tar.gz") == name(file="/srv/guest.tar.gz")


def test_the_manifest_names_an_image_as_gondolin_does(tmp_path: Path) -> None:
    # The value that Gondolin 0.12.0's computeAssetBuildId gave for these three contents.
    for name, text in (("vmlinuz-virt", "k"), ("initramfs.cpio.lz4", "i"), ("rootfs.ext4", "r")):
        (tmp_path / name).write_text(text)
    loader = SourceFileLoader("manifest", str(content.root() / "roles" / "gondolin_image" / "files" / "manifest"))
    module = module_from_spec(spec_from_loader("manifest", loader))  # type: ignore[arg-type]
    loader.exec_module(module)

    made = module.manifest(tmp_path, "x86_64")
    assert uuid.UUID(made["buildId"]).version == 5
    assert made["buildId"] == "a0ea1e6c-b150-5106-a8fd-76ec887dea0a"
