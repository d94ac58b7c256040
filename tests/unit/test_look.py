"""What a look makes of a host that cannot carry its pattern: one row that says so, and nothing that would be done."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pifleet.fleet import Connection, Fleet, Host, Limits, Sandbox
from pifleet.look import Look, look
from pifleet.observe import SHAPE
from pifleet.provision import apply
from tests.unit.fleets import box, fleet

GIB = 1 << 30
FIT: dict[str, Any] = {
    "probe": 1, **{key: kind() for key, kind in SHAPE.items()},
    "arch": "x86_64", "memory": 8 * GIB, "os": {"id": "debian", "version": "12"}, "gondolin": {"kvm": False},
}
Looked = Callable[..., Look]


@pytest.fixture
def looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looked:
    """A look at hosts of pattern gondolin, each of which is a program that answers what it is given here."""
    monkeypatch.setattr(secrets, "token_hex", lambda _: "n0nce")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "id").write_text("#!/bin/sh\necho 0\n")

    def look_at(*boxes: Sandbox, **seen: dict[str, Any]) -> Look:
        for name, said in seen.items():
            answer = json.dumps({**FIT, **said})
            (tmp_path / name).write_text(f"#!/bin/sh\ncat >/dev/null; printf '\\nn0nce\\n%s' '{answer}'\n")
        for path in tmp_path.iterdir():
            path.chmod(0o755)
        hosts = {name: Host(name, ("pifleet_gondolin",), Connection(local=True, python=name)) for name in seen}
        made = boxes or (box(pattern="gondolin"),)
        return look(Fleet("acme", hosts, made, repos=fleet().repos, models=fleet().models))

    return look_at


@pytest.mark.parametrize(("seen", "saw"), [
    ({"arch": "aarch64"}, "processor for gondolin: aarch64"),
    ({"memory": GIB}, "memory for gondolin: 1.0 GiB; a sandbox has 2.0 GiB"),
    ({"gondolin": {"qemu": "6.2.0"}}, "qemu: QEMU 6.2.0"),
    ({"os": {"id": "ubuntu", "version": "22.04"}}, "qemu: the QEMU of ubuntu 22.04 is older than 7.2"),
])
def test_a_host_that_lacks_what_nobody_can_install_is_one_row_and_has_no_step(
    looked: Looked, seen: dict[str, Any], saw: str
) -> None:
    found = looked(box(pattern="gondolin", limits=Limits(memory=2 * GIB)), farm=seen)

    [(host, why)] = found.plan.unfit
    assert (host, found.plan.steps) == ("farm", ())
    assert saw in why.saw
    assert why.try_


def test_provision_does_nothing_there_and_tells_the_host_and_its_sandbox(looked: Looked) -> None:
    found = looked(farm={"arch": "aarch64"})
    done = apply(found)

    assert {outcome.name: outcome.result for outcome in done.outcomes} == {"farm": "failed", "ana/main": "skipped"}


def test_a_host_without_kvm_is_told_so_beside_its_steps(looked: Looked) -> None:
    found = looked(farm={})

    assert [note.text for note in found.plan.notes] == ["there is no /dev/kvm: machines will be emulated"]
    assert {step.host for step in found.plan.steps} == {"farm"}


def test_a_sandbox_is_placed_where_it_can_be_carried(looked: Looked) -> None:
    found = looked(a={"arch": "aarch64"}, b={})

    assert found.placement.host_of == {"ana/main": "b"}
    assert found.plan.as_json()["unfit"][0]["host"] == "a"
