"""What the probe says of a real engine's containers, images and agents, on this machine and over ssh."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pifleet import observe as observing
from pifleet.errors import Trouble
from pifleet.fleet import Connection, Host
from pifleet.observe import Observed, observe
from pifleet.sandbox import driver_for, runs
from tests.integration import boxes
from tests.integration.boxes import LOCAL, Box
from tests.integration.sshd import SSHD, Sshd, free_port

pytestmark = pytest.mark.skipif(not boxes.image()[0], reason="no sandbox image on this engine: scripts/demo makes one")


@pytest.fixture
def box(tmp_path, monkeypatch):
    with boxes.running(tmp_path, monkeypatch) as made:
        yield made


def seen(box: Box, host: Host = LOCAL) -> dict:
    answer = observe({"here": box.spec()}, {"here": host}, nonce="n0nce")["here"]
    assert isinstance(answer, Observed), answer
    return dict(answer.data)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def difference(box: Box) -> dict:
    """The keys in which the container differs from what is wanted, and how."""
    found = seen(box)["containers"][box.sandbox.container]["spec"]
    wanted = {**box.wanted, "image": box.image_id}
    assert wanted.keys() == found.keys()
    return {key: found[key] for key in wanted if wanted[key] != found[key]}


def recreate(box: Box, **changes: object) -> None:
    docker("rm", "-f", box.sandbox.container)
    box.create({**box.wanted, **changes})
    docker("start", box.sandbox.container)


@pytest.mark.slice
def test_a_container_made_from_its_spec_is_seen_as_its_spec(box):
    assert difference(box) == {}
    found = seen(box)["containers"][box.sandbox.container]
    assert found["state"] == "running"
    assert found["agent"] == {"processes": 0}


def test_the_image_is_told_by_what_it_is(box):
    found = seen(box)["images"][box.image]
    assert (found["id"], found["entrypoint"], found["workdir"]) == (box.image_id, ["pi"], "/workspace")
    assert found["hash"] == docker("inspect", "-f", '{{index .Config.Labels "io.pifleet.image"}}', box.image)


def test_the_sandboxes_folders_and_files_are_as_they_were_made(box):
    found = seen(box)["paths"]
    for folder in box.spec()["dirs"]:
        wanted = {"type": "dir", **{key: folder[key] for key in ("mode", "uid", "gid")}}
        assert found[folder["path"]] == wanted, folder["path"]


@pytest.mark.parametrize(("changes", "differing"), [
    ({"memory": 512 << 20, "memory_swap": 512 << 20}, {"memory": 512 << 20, "memory_swap": 512 << 20}),
    ({"privileged": True}, {"privileged": True}),
    ({"cap_add": ["NET_ADMIN"]}, {"cap_add": ["NET_ADMIN"]}),
    ({"network": "bridge"}, {"network": "bridge"}),
    ({"read_only": False}, {"read_only": False}),
    ({"restart": "no"}, {"restart": "no"}),
])
def test_a_container_made_otherwise_is_seen_to_differ_there_and_nowhere_else(box, changes, differing):
    recreate(box, **changes)
    found = difference(box)
    if "privileged" in changes:  # the engine opens system paths and labels too
        found.pop("security_opt", None)
    assert found == differing


def test_a_mount_more_is_seen(box):
    recreate(box, mounts=[*box.wanted["mounts"], ["/etc", "/host", "rw"]])
    assert ["/etc", "/host", "rw"] in difference(box)["mounts"]


def test_a_label_on_the_container_cannot_hide_a_difference(box):
    recreate(box, labels={**box.wanted["labels"], "io.pifleet.spec": "as wanted"}, user="0:0")
    assert set(difference(box)) == {"labels", "user"}


def test_stopped_paused_and_removed_containers_are_told_apart(box):
    name = box.sandbox.container
    docker("pause", name)
    assert seen(box)["containers"][name]["state"] == "paused"
    docker("unpause", name)
    docker("stop", "-t", "1", name)
    stopped = seen(box)["containers"][name]
    assert (stopped["state"], stopped["agent"]) == ("exited", {"processes": 0})
    docker("rm", name)
    assert seen(box)["containers"][name] is None


def test_a_pi_at_work_is_counted_from_outside(box):
    with driver_for("docker")(LOCAL) as driver:
        run = runs.start(driver, box.sandbox, "HANG")
        deadline = time.monotonic() + 15
        while not (agent := seen(box)["containers"][box.sandbox.container]["agent"])["processes"]:
            assert time.monotonic() < deadline
        runs.stop(driver, box.sandbox, run)
    assert agent == {"processes": 1}
    assert seen(box)["containers"][box.sandbox.container]["agent"] == {"processes": 0}


def test_every_container_of_the_fleet_is_seen_also_one_that_is_not_wanted(box):
    spec = {**box.spec(), "sandboxes": []}
    answer = observe({"here": spec}, {"here": LOCAL})["here"]
    assert isinstance(answer, Observed)
    found = answer.data["containers"][box.sandbox.container]
    assert found["spec"]["labels"]["io.pifleet.sandbox"] == box.sandbox.title


def test_somebody_elses_container_under_our_name_is_foreign(box):
    recreate(box, labels={"io.pifleet.fleet": "other"})
    assert seen(box)["foreign"] == [f"container {box.sandbox.container} exists and is not this fleet's"]


def test_a_repository_made_inside_is_seen_from_outside(box):
    script = "git init -qb main api && cd api && git -c user.name=a -c user.email=a@b commit -qm one --allow-empty"
    docker("exec", box.sandbox.container, "sh", "-c", script)
    head = docker("exec", "-w", "/workspace/api", box.sandbox.container, "git", "rev-parse", "HEAD")
    assert seen(box)["repos"] == {box.sandbox.title: {"api": {"head": head, "branch": "main"}}}


def test_an_engine_that_does_not_answer_makes_containers_unknown_not_missing(box, monkeypatch):
    elsewhere = "module.engine_look.Engine.__init__.__defaults__ = ('/no/socket', 10); module.main"
    monkeypatch.setattr(observing, "LOADER", observing.LOADER.replace("module.main", elsewhere))
    found = seen(box)
    assert found["engine"]["answers"] is False
    assert "/no/socket" in found["engine"]["error"]
    assert found["containers"] == {box.sandbox.container: None}
    assert "/no/socket" in found["unknown"]["containers"]
    assert found["paths"]


def test_hosts_are_seen_side_by_side_also_by_ssh_and_a_dead_one_costs_only_itself(box, tmp_path):
    if SSHD is None:
        pytest.skip("openssh-server is not installed: apt-get install openssh-server")
    (tmp_path / "sshd").mkdir()
    server = Sshd(tmp_path / "sshd")
    try:
        python = Path(sys.executable)
        hosts = {f"h{number}": replace(server.host, name=f"h{number}", connection=replace(
            server.host.connection, python=str(python))) for number in range(4)}
        hosts["dead"] = Host("dead", (), Connection(address="127.0.0.1", port=free_port()))
        answers = observe(dict.fromkeys(hosts, box.spec()), hosts)
    finally:
        server.stop()
    assert isinstance(answers["dead"], Trouble)
    states = [answers[name].data["containers"][box.sandbox.container]["state"] for name in hosts if name != "dead"]
    assert states == ["running"] * 4
