"""Owns what a host of group pifleet_gondolin has: QEMU, the runtime of its sandboxes, and what each of these is.
It must not know the host around them, or what is seen there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pifleet import fleet as names
from pifleet.content import role_file
from pifleet.desired import egress, gateway, pi
from pifleet.desired.clients import variables
from pifleet.desired.egress import Clients
from pifleet.fleet import Fleet, Host, Sandbox

PART = "sandbox_gondolin"
RUNTIME_PART = "gondolin"
QEMU_PART = "qemu"
PARTS = (QEMU_PART, RUNTIME_PART, gateway.PART, egress.PART, PART)
# `-netdev stream`, by which Gondolin is a machine's network, came with it (QEMU 7.2 change log).
OLDEST_QEMU = "7.2"
QEMU = "qemu-system-x86_64"
PACKAGES = (("qemu-system-x86", QEMU), ("qemu-utils", "qemu-img"), ("bubblewrap", "bwrap"), ("zstd", "zstd"))
RUNTIMES = names.PROGRAMS / "gondolin"
EMPTY = RUNTIMES / "empty"
ETC = names.ETC / "gondolin"
ACCELERATION = ETC / "acceleration"
PROGRAMS = ("client.js", "extension.ts", "frames.js", "guest.js", "inside.js", "machine.js", "prove.js")
TOOLS = ("inside", "pi", "rg")
# A folder that Python runs as a program.
PLACES = names.PROGRAMS / "places"
MODULES = ("__main__.py", "groups.py", "life.py", "place.py")
SERVICE = "pifleet-sandbox-"
# What pi, Gondolin and QEMU themselves need of a sandbox's memory; the rest is the guest's.
OWN_MEMORY = 768 << 20
MODEL_PORT, PROXY_PORT = 8100, 8101
PROXY = "egress.pifleet.internal"
WORKSPACE = "/workspace"
# Emulated and on a busy host a machine needs a minute or two. Who kills pi finds nothing left after five seconds.
START_SECONDS, LINGER_SECONDS = 240, 2


def parts(_: Host) -> tuple[str, ...]:
    """See `pifleet.patterns.Pattern`."""
    return PARTS


def extend(spec: dict[str, Any], fleet: Fleet, boxes: Sequence[Sandbox], clients: Clients) -> None:
    """See `pifleet.patterns.Pattern`."""
    runtime = _runtime(fleet, Path(spec["image"]["archive"]).parent)
    home = PurePosixPath(runtime["path"])
    spec["packages"] += [{"name": name, "command": command, "part": QEMU_PART} for name, command in PACKAGES]
    spec["dirs"] += [_folder(path) for path in (ETC, RUNTIMES, EMPTY, PLACES, home, home / "programs", home / "tools")]
    spec["files"] += _programs(home)
    for box in boxes:
        spec["dirs"] += _folders(box)
        spec["files"] += _files(fleet, box, home, clients)
    spec["gondolin"] = {
        "qemu": {"command": QEMU, "minimum": OLDEST_QEMU},
        "runtime": runtime,
        "acceleration": str(ACCELERATION),
        "sandboxes": [_entry(fleet, box, home) for box in boxes],
        "orphans": [],
    }


def complete(_: dict[str, Any], __: object, ___: str) -> None:
    """Nothing of a sandbox follows from a secret."""


def removal(_: Fleet, __: str, boxes: Sequence[Sandbox], ___: Sequence[Sandbox]) -> dict[str, Any]:
    """See `pifleet.patterns.Pattern`."""
    return {"gondolin": [{"id": box.id, "service": service(box)} for box in boxes]}


def paths(box: Sandbox) -> list[PurePosixPath]:
    """See `pifleet.patterns.Pattern`; by place.json a look knows that a sandbox is of this pattern."""
    inner = [box.root / name for name in ("etc", "net", "out", "machine", "workspace", "home", "repos.json")]
    return [box.root, *inner, *(box.root / "etc" / name for name in ("place.json", "machine.json"))]


def services() -> list[dict[str, Any]]:
    """None besides its sandboxes' own."""
    return []


def service(box: Sandbox, home: PurePosixPath | None = None) -> dict[str, Any]:
    """What keeps a sandbox's places; `reads` are files that only those places know which were made after a change."""
    reads = [*(PLACES / name for name in MODULES), names.PROGRAMS / "keeper", ACCELERATION,
             box.root / "etc" / "place.json", box.root / "etc" / "machine.json"]
    if home:
        reads += [home / "programs" / name for name in ("machine.js", "guest.js", "frames.js")]
    return {"name": SERVICE + box.id, "argv": ["/usr/bin/python3", "-I", str(PLACES), "keep", box.id], "user": "",
            "reload": "", "reads": [str(path) for path in reads], "part": PART}


def _runtime(fleet: Fleet, cache: Path) -> dict[str, Any]:
    """What hosts carry: made once, from these versions, and known by their hash."""
    image, own = fleet.image, fleet.gondolin
    name = own.hash(image)
    return {
        "hash": name, "path": str(RUNTIMES / name), "record": str(ETC / f"{name}.tree"),
        "archive": str(cache / f"gondolin-{name}.tar.zst"), "builder": False,
        "version": own.version, "zig_version": own.zig_version, "kernel": own.kernel,
        "guest": {"file": own.guest.file, "url": own.guest.url, "sha256": own.guest.sha256} if own.guest else None,
        "packages": sorted({*own.PACKAGES, *image.packages}), "suite": image.suite, "date": image.date,
        "node_version": image.node_version, "npm_version": image.npm_version, "pi_version": image.pi_version,
        "ca": image.ca, "apt_mirror": image.apt_mirror, "npm_registry": image.npm_registry,
    }


def _folder(path: PurePosixPath) -> dict[str, Any]:
    return {"path": str(path), "mode": "0755", "uid": 0, "gid": 0, "part": RUNTIME_PART, "sandbox": ""}


def _programs(home: PurePosixPath) -> list[dict[str, Any]]:
    found = [(home / "programs" / name, RUNTIME_PART, name, "0644") for name in PROGRAMS]
    found += [(home / "tools" / name, RUNTIME_PART, name, "0755") for name in TOOLS]
    found += [(names.PROGRAMS / "keeper", "pi_image", "keeper", "0755")]
    found += [(PLACES / name, PART, f"places/{name}", "0644") for name in MODULES]
    return [
        {"path": str(path), "content": role_file(role, name), "mode": mode, "part": RUNTIME_PART, "sandbox": "",
         "in_place": False}
        for path, role, name, mode in found
    ]


def _folders(box: Sandbox) -> list[dict[str, Any]]:
    """The sandbox's folders; those of sockets open to its own group only, since a socket is its identity."""
    owned = (("", "0711", 0, 0), ("etc", "0755", 0, 0), ("net", "0750", 0, box.uid), ("out", "0750", 0, box.uid),
             *((name, "0700", box.uid, box.uid) for name in ("machine", "workspace", "home")))
    return [
        {"path": str(box.root / name), "mode": mode, "uid": uid, "gid": gid, "part": "developers", "sandbox": box.title}
        for name, mode, uid, gid in owned
    ]


def _files(fleet: Fleet, box: Sandbox, home: PurePosixPath, clients: Clients) -> list[dict[str, Any]]:
    """What root wrote for the sandbox, and it can only read."""
    models = [fleet.models[name] for name in box.models]
    texts = {
        "passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\n{box.user}:x:{box.uid}:{box.uid}::/home/pi:/bin/bash\n",
        "group": f"root:x:0:\n{box.user}:x:{box.uid}:\n",
        "models.json": pi.as_json(pi.models((m, f"http://127.0.0.1:{MODEL_PORT}/{m.name}") for m in models)),
        "settings.json": pi.as_json(pi.settings(box, models[0])),
        "place.json": pi.as_json(_place(fleet, box, home)),
        "machine.json": pi.as_json(_machine(box, home, clients)),
    }
    return [
        {"path": str(box.root / "etc" / name), "content": text, "mode": "0644", "part": PART, "sandbox": box.title,
         "in_place": name in ("passwd", "group")}
        for name, text in texts.items()
    ]


def _place(fleet: Fleet, box: Sandbox, home: PurePosixPath) -> dict[str, Any]:
    return {
        "id": box.id, "title": box.title, "fleet": fleet.name, "uid": box.uid, "runtime": str(home),
        "empty": str(EMPTY), "cpus": box.limits.cpus, "memory": box.limits.memory, "pids": box.limits.pids,
    }


def _machine(box: Sandbox, home: PurePosixPath, clients: Clients) -> dict[str, Any]:
    return {
        "image": str(home / "guest"), "cpus": max(1, math.ceil(box.limits.cpus)),
        "memory": box.limits.memory - OWN_MEMORY, "workspace": WORKSPACE,
        "socket": "/run/pifleet/machine/machine.sock", "egress": "/run/pifleet/out/egress.sock",
        "proxy": {"host": PROXY, "port": PROXY_PORT}, "env": _guest_environment(box, clients),
        "startSeconds": START_SECONDS, "lingerSeconds": LINGER_SECONDS,
    }


def _guest_environment(box: Sandbox, clients: Clients) -> Mapping[str, str]:
    """All variables of the guest. Its pip and npm look where the host's own do, if the sandbox may."""
    proxy = f"http://{PROXY}:{PROXY_PORT}"
    plain = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1,localhost"}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
        **plain, **{name.lower(): value for name, value in plain.items()},
        **variables(box, clients),
    }


def _entry(fleet: Fleet, box: Sandbox, home: PurePosixPath) -> dict[str, Any]:
    return {
        "id": box.id, "title": box.title, "user": box.user, "uid": box.uid, "runtime": str(home),
        "service": service(box, home), "repos": [pi.repo_entry(fleet.repos[name]) for name in box.repos],
    }
