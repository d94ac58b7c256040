"""The form in which containers are compared, against what the engine of Docker 20.10 really answers."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from pifleet.fleet import Fleet, Limits, Model, Sandbox
from pifleet.patterns.docker import desired
from tests.unit.hostside import load

containers = load("containers")
# `docker inspect` of a sandbox as create_body makes it, and of its image; from an engine 20.10.24.
ANSWERS = json.loads((Path(__file__).parent / "engine_answers.json").read_text())
BOX = Sandbox("ana", "main", "docker", "dry", Limits(cpus=0.5, memory=256 << 20, pids=128))
FLEET = Fleet("acme", {}, (BOX,), {}, {"dry": Model("dry", "scripted")})


def wanted() -> dict[str, Any]:
    return {**desired.container(FLEET, BOX), "image": ANSWERS["image"]["Id"]}


def seen(**changes: Any) -> dict[str, Any]:
    """What is observed when parts of the engine's answer are other: `HostConfig__Memory=1`."""
    answer = copy.deepcopy(ANSWERS["container"])
    for path, value in changes.items():
        *folders, name = path.split("__")
        place = answer
        for folder in folders:
            place = place[folder]
        place[name] = value
    return dict(containers.normalise(answer, ANSWERS["image"]))


def test_a_container_made_as_wanted_is_seen_as_wanted() -> None:
    assert seen() == wanted()


# One row per way to loosen or change a sandbox by hand: the engine's answer, and what must be seen to differ.
MOUNT = {"Type": "bind", "Source": "/etc", "Destination": "/host", "RW": True, "Propagation": "rprivate"}
MADE = ANSWERS["container"]
DIFFERENCES = {
    "another image": ({"Image": "sha256:0"}, {"image": "sha256:0"}),
    "root": ({"Config__User": ""}, {"user": ""}),
    "another entrypoint": ({"Config__Entrypoint": ["sh"]}, {"entrypoint": ["sh"]}),
    "one more variable": ({"Config__Env": [*MADE["Config"]["Env"], "KEY=1"]}, {"env": {**wanted()["env"], "KEY": "1"}}),
    "the image's variable changed": (
        {"Config__Env": [e.replace("PI_OFFLINE=1", "PI_OFFLINE=0") for e in MADE["Config"]["Env"]]},
        {"env": {**wanted()["env"], "PI_OFFLINE": "0"}},
    ),
    "one more mount": ({"Mounts": [*MADE["Mounts"], MOUNT]}, {"mounts": [*wanted()["mounts"], None]}),
    "a volume": (
        {"Mounts": [{"Type": "volume", "Name": "v", "Source": "/x", "Destination": "/v", "RW": True}]},
        {"mounts": [["volume:v", "/v", "rw"]]},
    ),
    "a shared mount": (
        {"Mounts": [{**MOUNT, "Propagation": "rshared"}]}, {"mounts": [["/etc", "/host", "rw,rshared"]]},
    ),
    "the network of the host": (
        {"HostConfig__NetworkMode": "host", "NetworkSettings__Networks": {"host": {}}}, {"network": "host"},
    ),
    "a network attached later": ({"NetworkSettings__Networks": {"bridge": {}}}, {"network": "bridge"}),
    "a published port": ({"HostConfig__PortBindings": {"80/tcp": [{}]}}, {"ports": ["80/tcp"]}),
    "privileged": ({"HostConfig__Privileged": True}, {"privileged": True}),
    "one more capability": ({"HostConfig__CapAdd": ["CAP_NET_ADMIN"]}, {"cap_add": ["NET_ADMIN"]}),
    "capabilities kept": ({"HostConfig__CapDrop": None}, {"cap_drop": []}),
    "seccomp off": ({"HostConfig__SecurityOpt": ["seccomp=unconfined"]}, {"security_opt": ["seccomp=unconfined"]}),
    "the group of the engine": (
        {"HostConfig__GroupAdd": ["docker"]}, {"security_opt": ["group=docker", "no-new-privileges"]},
    ),
    "system paths open": (
        {"HostConfig__MaskedPaths": [], "HostConfig__ReadonlyPaths": []},
        {"security_opt": ["no-new-privileges", "systempaths=unconfined"]},
    ),
    "a device": (
        {"HostConfig__Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "r"}]},
        {"devices": ["/dev/sda:/dev/sda:r"]},
    ),
    "the host's processes": ({"HostConfig__PidMode": "host"}, {"pid": "host"}),
    "the host's shared memory": ({"HostConfig__IpcMode": "host"}, {"ipc": "host"}),
    "the host's users": ({"HostConfig__UsernsMode": "host"}, {"userns": "host"}),
    "writable": ({"HostConfig__ReadonlyRootfs": False}, {"read_only": False}),
    "no limit of memory": ({"HostConfig__Memory": 0, "HostConfig__MemorySwap": 0}, {"memory": 0, "memory_swap": 0}),
    "no limit of processes": ({"HostConfig__PidsLimit": None}, {"pids": 0}),
    "cpus by quota": (
        {"HostConfig__NanoCpus": 0, "HostConfig__CpuQuota": 150000, "HostConfig__CpuPeriod": 100000}, {"cpus": 1.5},
    ),
    "never started again": ({"HostConfig__RestartPolicy": {"Name": ""}}, {"restart": "no"}),
    "another fleet": (
        {"Config__Labels": {**MADE["Config"]["Labels"], "io.pifleet.fleet": "other"}},
        {"labels": {"io.pifleet.fleet": "other", "io.pifleet.sandbox": "ana/main"}},
    ),
}
DIFFERENCES["one more mount"][1]["mounts"] = sorted(
    [*wanted()["mounts"], ["/etc", "/host", "rw"]], key=lambda mount: mount[1]
)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_seen_where_it_is_and_nowhere_else(name: str) -> None:
    changes, expected = DIFFERENCES[name]

    there = seen(**changes)

    assert {key: there[key] for key in containers.differing(wanted(), there)} == expected


def test_what_the_image_brings_is_no_difference_while_the_image_is_known() -> None:
    assert "PI_OFFLINE" not in seen()["env"]
    assert containers.normalise(ANSWERS["container"], None)["env"]["PI_OFFLINE"] == "1"


def test_only_limits_and_the_restart_policy_change_while_a_container_runs() -> None:
    assert set(containers.update_body(wanted())) == {"Memory", "MemorySwap", "NanoCpus", "PidsLimit", "RestartPolicy"}
    assert {"memory", "memory_swap", "cpus", "pids", "restart"} == containers.LIVE


def test_a_container_is_made_with_mounts_that_fail_when_their_source_is_missing() -> None:
    mounts = containers.create_body(wanted())["HostConfig"]["Mounts"]

    assert all(mount["Type"] == "bind" for mount in mounts)
    assert "Binds" not in containers.create_body(wanted())["HostConfig"]
