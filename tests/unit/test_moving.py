"""Where a sandbox lives whose host or pattern was changed, what leaves, and what of it stays for its successor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pifleet.cli.remove import moving
from pifleet.fleet import Fleet, Host, Sandbox
from pifleet.look import Look
from pifleet.moves import with_moves
from pifleet.observe import Observed
from pifleet.place import Placement, Trace, place
from pifleet.plan import Plan, Step
from pifleet.removal import own_paths, targets
from pifleet.rescue import leaving, returning
from pifleet.selection import Selection
from tests.unit.fleets import box, fleet

DOCKER, BOTH, SHELLS = (
    Host("farm-1", ("pifleet_docker",)), Host("farm-2", ("pifleet_docker", "pifleet_openshell")),
    Host("farm-3", ("pifleet_openshell",)),
)
ROOM = {"farm-1": 1 << 34, "farm-2": 1 << 34, "farm-3": 1 << 34}


def changing(**changes: Any) -> Fleet:
    """A fleet of three hosts whose one sandbox is now wanted as pattern openshell."""
    made = fleet(box(pattern="openshell", **changes))
    return replace(made, hosts={host.name: host for host in (DOCKER, BOTH, SHELLS)})


def placed(of: Fleet, **seen: Mapping[str, Trace]) -> Placement:
    """`seen` by host, whose hyphen is no part of a Python name; hosts that are not named saw nothing."""
    answers = {name: seen.get(name.replace("-", ""), {}) for name in of.hosts}
    return place(of, answers, ROOM)


def there(*patterns: str) -> dict[str, Trace]:
    return {"ana/main": frozenset(patterns)}


def test_a_sandbox_of_another_pattern_becomes_this_one_where_it_is() -> None:
    found = placed(changing(), farm2=there("docker"))

    assert found.host_of == {"ana/main": "farm-2"}
    assert found.moves == {"ana/main": box(host="farm-2")}


def test_where_its_host_does_not_offer_the_new_pattern_it_moves_to_one_that_does() -> None:
    found = placed(changing(), farm1=there("docker"))

    assert found.host_of["ana/main"] in ("farm-2", "farm-3")
    assert found.moves == {"ana/main": box(host="farm-1")}


def test_while_both_are_there_it_lives_in_the_new_one_and_the_old_one_leaves() -> None:
    found = placed(changing(), farm1=there("docker"), farm3=there("openshell"))

    assert found.host_of == {"ana/main": "farm-3"}
    assert found.moves == {"ana/main": box(host="farm-1")}


def test_on_one_host_both_are_told_apart() -> None:
    assert placed(changing(), farm2=there("docker", "openshell")).moves == {"ana/main": box(host="farm-2")}
    assert placed(changing(), farm2=there("openshell")).moves == {}


def test_a_pin_to_another_host_moves_it_within_its_pattern() -> None:
    found = placed(changing(host="farm-3"), farm2=there("openshell"))

    assert found.host_of == {"ana/main": "farm-3"}
    assert found.moves == {"ana/main": box(pattern="openshell", host="farm-2")}


def test_none_is_made_while_a_host_that_may_hold_it_is_silent() -> None:
    of = changing()
    found = place(of, {"farm-1": there("docker"), "farm-2": {}}, ROOM)

    assert found.host_of == {}
    assert found.moves == {}
    assert "farm-3" in found.troubles["ana/main"].headline


def seen(*sandboxes: Sandbox) -> Observed:
    labels = {"io.pifleet.fleet": "acme", "io.pifleet.sandbox": "ana/main"}
    return Observed("farm-2", {
        "containers": {one.container: {"state": "running", "spec": {"labels": labels}, "agent": {"processes": 1}}
                       for one in sandboxes},
        "openshell": {}, "gondolin": {}, "paths": {},
    })


def test_where_a_gateway_cannot_say_whether_it_has_a_sandbox_no_second_one_is_made_elsewhere() -> None:
    found = place(changing(), {name: {} for name in ROOM}, ROOM, {("farm-3", "openshell")})

    assert "ana/main" not in found.host_of
    assert found.troubles["ana/main"].headline == "ana/main was seen on no host, and farm-3 did not answer"


def test_a_silent_gateway_that_is_the_only_one_keeps_its_sandbox() -> None:
    of = replace(changing(), hosts={"farm-1": DOCKER, "farm-3": SHELLS})

    assert place(of, {"farm-1": {}, "farm-3": {}}, ROOM, {("farm-3", "openshell")}).host_of == {"ana/main": "farm-3"}


def test_leaving_is_one_step_that_says_why_and_takes_the_place_of_forgetting_and_replacing() -> None:
    of = changing()
    created = Step("sandbox", "farm-2", "ana/main", "sandbox", "create", "missing", "sandbox_openshell")
    stopped = replace(created, item="container", action="stop", part="sandbox_docker")
    replaced = replace(created, action="replace")
    where = placed(of, farm2=there("docker"))

    steps = with_moves([created, stopped, replaced], where, {"farm-2": seen(box())}, of, Selection(), {"ana/main"})

    assert steps[0] == created
    assert [(step.action, step.item, step.why, step.destructive) for step in steps[1:]] == [
        ("remove", "docker sandbox", "becomes openshell, with its work", True)]
    assert len({step.id for step in steps}) == len(steps)


def looked(of: Fleet, where: Placement, *sandboxes: Sandbox) -> Look:
    data = seen(*sandboxes)
    data = replace(data, data={**data.data, "paths": {str(of.sandboxes[0].root): {"type": "dir"}}})
    return Look(of, Selection(), {"farm-2": data}, where, {}, Plan(), {})


def test_before_a_pattern_is_changed_the_old_sandbox_is_what_a_removal_finds() -> None:
    of = changing()
    found = targets(looked(of, placed(of, farm2=there("docker")), box()))

    assert [(one.box.pattern, one.host, one.container, one.at_work) for one in found] == [
        ("docker", "farm-2", True, True)]
    assert moving(found) == set()


def test_while_there_are_two_of_it_a_removal_does_not_choose() -> None:
    of = changing()
    one = targets(looked(of, placed(of, farm2=there("docker")), box()))[0]

    assert moving([one, replace(one, box=of.sandboxes[0])]) == {"ana/main"}


@pytest.mark.parametrize(("pattern", "waits"), [("openshell", ["ana/main"]), ("docker", [])])
def test_what_was_not_brought_back_waits_only_in_a_pattern_that_does_not_keep_it_by_itself(
    tmp_path: Path, pattern: str, waits: list[str]
) -> None:
    of = replace(fleet(box(pattern=pattern)), hosts=changing().hosts, results=str(tmp_path))
    (tmp_path / ".store").mkdir()
    (tmp_path / ".store" / "ana-main.returning").write_text('{"generation": 3, "container": "an old one"}')

    assert list(returning.pending(looked(of, placed(of, farm2=there(pattern)), box()))) == waits


@pytest.mark.parametrize(("selection", "unfit"), [
    (Selection(), {"farm-3"}), (Selection(hosts=("farm-2",)), set()), (Selection(hosts=("farm-3",)), set()),
])
def test_a_sandbox_whose_new_host_is_left_alone_or_not_meant_neither_leaves_nor_is_stopped(
    selection: Selection, unfit: set[str]
) -> None:
    of = changing(host="farm-3")
    stopped = Step("sandbox", "farm-2", "ana/main", "container", "stop", "left", "sandbox_docker")
    where = placed(of, farm2=there("docker"))

    assert with_moves([stopped], where, {"farm-2": seen(box())}, of, selection, {"ana/main"}, unfit) == []


ROOT = "/var/lib/pifleet/sandboxes/ana-main"
SHARED = [
    ("nobody", "docker", "", [ROOT, "/run/pifleet/ana-main.lock"]),
    ("a micro-VM after a container", "docker", "gondolin", []),
    ("a container after a micro-VM", "gondolin", "docker",
     [f"{ROOT}/out", f"{ROOT}/machine", f"{ROOT}/etc/place.json", f"{ROOT}/etc/machine.json"]),
    ("a gateway's sandbox after a container", "docker", "openshell",
     [f"{ROOT}/{name}" for name in ("etc", "net", "workspace", "home", "repos.json")]),
    ("a container after a gateway's sandbox", "openshell", "docker", ["/var/lib/pifleet/openshell/incoming/ana-main"]),
]


@pytest.mark.parametrize(("old", "new", "gone"), [row[1:] for row in SHARED], ids=[row[0] for row in SHARED])
def test_of_an_old_sandbox_goes_what_its_successor_has_not(old: str, new: str, gone: list[str]) -> None:
    assert own_paths(box(pattern=old), [box(pattern=new)] if new else []) == gone


def test_what_only_has_to_go_is_remembered_until_it_is_gone(tmp_path: Path) -> None:
    of, old = replace(changing(), results=str(tmp_path / "results")), box(host="farm-1")

    leaving.note(of, old)
    remembered = leaving.noted(of)
    leaving.forget(of, old)

    assert remembered == [old]
    assert leaving.noted(of) == []
