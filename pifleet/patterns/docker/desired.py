"""Owns what sandboxes of pattern docker are on their host: folders, rendered files, repositories and containers.
It must not know the host around them, or what is seen there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from pifleet import fleet as names
from pifleet.desired import egress, gateway, inside, pi
from pifleet.desired.egress import Clients
from pifleet.desired.inside import HOME, WORKSPACE
from pifleet.fleet import Fleet, Host, Model, Sandbox
from pifleet.report import Check

PART = "sandbox_docker"
PARTS = ("docker", "pi_image", gateway.PART, egress.PART, PART)


def parts(_: Host) -> tuple[str, ...]:
    """See `pifleet.patterns.Pattern`."""
    return PARTS


def extend(spec: dict[str, Any], fleet: Fleet, boxes: Sequence[Sandbox], clients: Clients) -> None:
    """See `pifleet.patterns.Pattern`."""
    for box in boxes:
        spec["dirs"] += dirs(box)
        spec["files"] += files(box, [fleet.models[name] for name in box.models], clients)
        spec["sandboxes"].append(entry(fleet, box))


def complete(_: dict[str, Any], __: object, ___: str) -> None:
    """Nothing of a container follows from a secret."""


def removal(_: Fleet, __: str, boxes: Sequence[Sandbox], ___: Sequence[Sandbox]) -> dict[str, Any]:
    """See `pifleet.patterns.Pattern`."""
    return {"sandboxes": [{"id": box.id, "container": box.container} for box in boxes]}


def paths(box: Sandbox) -> list[PurePosixPath]:
    """See `pifleet.patterns.Pattern`."""
    return [box.root, *(box.root / name for name in ("etc", "net", "workspace", "home", "repos.json"))]


def needs(_: Fleet, __: str, ___: object) -> Iterator[Check]:
    """Nothing but the engine, which every host that needs one is asked for."""
    return iter(())


def services() -> list[dict[str, Any]]:
    """None of its own: what its sandboxes' sockets lead to is not the pattern's alone."""
    return []


def dirs(box: Sandbox) -> list[dict[str, Any]]:
    """The sandbox's folders. `net` opens to the sandbox's own group only: its sockets are its identity."""

    def one(path: object, mode: str, uid: int, gid: int) -> dict[str, Any]:
        return {"path": str(path), "mode": mode, "uid": uid, "gid": gid, "part": "developers", "sandbox": box.title}

    return [
        one(box.root, "0711", 0, 0),
        one(box.root / "etc", "0755", 0, 0),
        one(box.root / "net", "0750", 0, box.uid),
        one(box.root / "workspace", "0700", box.uid, box.uid),
        one(box.root / "home", "0700", box.uid, box.uid),
    ]


def files(box: Sandbox, models: Sequence[Model], clients: Clients) -> list[dict[str, Any]]:
    """The files that the sandbox reads and cannot change; those mounted one by one keep their inode when rewritten.

    `clients` is what the probe saw of the host's own pip and npm.
    """
    return [
        {
            "path": str(box.root / "etc" / name), "content": text, "mode": "0644", "part": PART,
            "sandbox": box.title, "in_place": name in ("passwd", "group"),
        }
        for name, text in inside.files(box, box.uid, models, clients).items()
    ]


def entry(fleet: Fleet, box: Sandbox) -> dict[str, Any]:
    """The sandbox in a spec: its container and the repositories it starts with."""
    return {
        "id": box.id,
        "title": box.title,
        "user": box.user,
        "uid": box.uid,
        "container": container(fleet, box),
        "repos": [pi.repo_entry(fleet.repos[name]) for name in box.repos],
    }


def container(fleet: Fleet, box: Sandbox) -> dict[str, Any]:
    """The container in the form that module_utils/containers.py reads back from the engine."""
    owner = f"{box.uid}:{box.uid}"
    mounts = [
        (box.root / "etc" / "group", "/etc/group", "ro"),
        (box.root / "etc" / "passwd", "/etc/passwd", "ro"),
        (box.root / "home", HOME, "rw"),
        (box.root / "etc", inside.ETC, "ro"),
        (box.root / "net", inside.NET, "ro"),
        (box.root / "workspace", WORKSPACE, "rw"),
    ]
    return {
        "name": box.container,
        "image": fleet.image.name,
        "user": owner,
        "entrypoint": [str(names.PROGRAMS / "keeper")],
        "command": [],
        "workdir": WORKSPACE,
        "hostname": box.id,
        "env": inside.environment(),
        "labels": {f"{names.LABEL}fleet": fleet.name, f"{names.LABEL}sandbox": box.title},
        "mounts": sorted(([str(s), t, m] for s, t, m in mounts), key=lambda mount: mount[1]),
        "tmpfs": {"/tmp": f"rw,nosuid,nodev,size={inside.TMP_BYTES},mode=1777"},  # noqa: S108
        "network": "none",
        "ports": [],
        "privileged": False,
        "cap_add": [],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "devices": [],
        "ipc": "private",
        "pid": "",
        "uts": "",
        "userns": "",
        "read_only": True,
        "memory": box.limits.memory,
        "memory_swap": box.limits.memory,
        "cpus": box.limits.cpus,
        "pids": box.limits.pids,
        "restart": "unless-stopped",
    }
