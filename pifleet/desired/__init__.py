"""Owns the desired state of a host as one JSON document, the spec, which roles, probe and plan all read.
It must not reach a host, and no secret's value ever enters a spec: only its name and where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pifleet import content
from pifleet import fleet as names
from pifleet.desired import egress, gateway
from pifleet.fleet import Fleet, Sandbox
from pifleet.patterns import pattern, patterns
from pifleet.secret import SecretSource

Spec = dict[str, Any]

EVERY_HOSTS = ("preflight", "developers")
OLDEST_ENGINE = "20.10"
# What a machine has of each kind; a cluster has none of it.
SECTIONS = ("users", "dirs", "files", "secrets", "packages", "services", "sockets", "filters", "sandboxes", "orphans")


def host_spec(
    fleet: Fleet, host: str, sandboxes: Sequence[Sandbox], image_cache: Path, clients: egress.Clients = egress.NOT_SEEN
) -> Spec:
    """Everything that shall be true of `host` when `sandboxes` live there; the carried image lies in `image_cache`.

    `clients` is what the probe saw of the host's own pip, npm and apt; what was not seen opens nothing.
    """
    there = fleet.hosts[host]
    own = {name: each for name, each in patterns().items() if name in there.patterns}
    parts = dict.fromkeys(part for each in own.values() for part in each.parts(there))
    spec: Spec = {
        "fleet": fleet.name,
        "host": host,
        "root": str(names.ROOT),
        "log_dir": str(names.LOGS),
        "gateway_log": gateway.log(),
        "parts": list(parts),
        "engine": {"minimum": OLDEST_ENGINE, "source": _engine_source(fleet)},
        "image": _image(fleet, image_cache),
        "others": gateway.TUNNEL,
        "clients": sorted({name for box in sandboxes for name in box.egress_sets}),
        **{section: [] for section in SECTIONS},
        "gondolin": None,
        "openshell": None,
        "cluster": None,
    }
    if not there.cluster:
        _extend_machine(spec, fleet, sandboxes)
    if gateway.PART in parts:
        behind = [box for box in sandboxes if gateway.PART in pattern(box.pattern).parts(there)]
        _extend_ways_out(spec, fleet, behind, clients)
    for name, each in own.items():
        each.extend(spec, fleet, [box for box in sandboxes if box.pattern == name], clients)
    return spec


def _extend_machine(spec: Spec, fleet: Fleet, sandboxes: Sequence[Sandbox]) -> None:
    """Add what every machine has, whatever its patterns."""
    parts = spec["parts"] = list(dict.fromkeys([*EVERY_HOSTS, *spec["parts"]]))
    # What keeps services without systemd has to be there before the first of them: it comes with this part.
    carrier = next((part for part in ("docker", "qemu") if part in parts), "")
    spec["users"] += _users(fleet, sandboxes)
    spec["dirs"] += _host_dirs(carrier)
    spec["files"] += [_keep_program(carrier)] if carrier else []
    spec["packages"] += [
        {"name": "git", "command": "git", "part": "developers"},
        {"name": "openssh-client", "command": "ssh-agent", "part": "developers"},
        {"name": "ca-certificates", "command": "update-ca-certificates", "part": "developers"},
    ]
    if "docker" in parts:
        # Debian 12's engine brings its client along; newer ones have it in a package of its own.
        spec["packages"].append({"name": "docker-cli", "command": "docker", "part": "docker"})


def _extend_ways_out(spec: Spec, fleet: Fleet, boxes: Sequence[Sandbox], clients: egress.Clients) -> None:
    """Add the model gateway and the egress proxy of a host, `boxes` being the sandboxes behind them."""
    models = [fleet.models[name] for name in sorted({name for box in boxes for name in box.models})]
    spec["users"] += egress.users(fleet.name)
    spec["dirs"] += [*gateway.dirs(models), *egress.dirs()]
    proxy = fleet.egress_proxy
    spec["files"] += [*gateway.files(models, boxes), *egress.files(boxes, clients, proxy)]
    spec["secrets"] += [*gateway.secrets(models), *egress.secrets(proxy)]
    spec["packages"] += [{"name": "nginx", "command": "nginx", "part": gateway.PART}, *egress.packages()]
    spec["services"] += [*gateway.services(models), *egress.services()]
    spec["sockets"] += [*gateway.sockets(models, boxes), *egress.sockets(boxes, clients, proxy)]
    spec["filters"] += egress.filters()


def secret_sources(fleet: Fleet) -> Mapping[str, SecretSource]:
    """Where the secrets that some sandbox needs come from: "model:NAME", "model:NAME:proxy_auth", "repo:NAME:token",
    "repo:NAME:ssh_key", "egress:proxy_auth", "gateway:HOST:key"."""
    found: dict[str, SecretSource] = {}
    for host in fleet.hosts.values():
        if host.gateway and host.gateway.key:
            found[f"gateway:{host.name}:key"] = host.gateway.key
    if fleet.egress_proxy and fleet.egress_proxy.auth:
        found[egress.LOGIN] = fleet.egress_proxy.auth
    for name in dict.fromkeys(name for box in fleet.sandboxes for name in box.models):
        model = fleet.models[name]
        if model.key:
            found[f"model:{name}"] = model.key
        if model.proxy_auth:
            found[f"model:{name}:proxy_auth"] = model.proxy_auth
    for repo in (fleet.repos[name] for name in dict.fromkeys(name for box in fleet.sandboxes for name in box.repos)):
        for kind, source in (("token", repo.token), ("ssh_key", repo.ssh_key)):
            if source:
                found[f"repo:{repo.name}:{kind}"] = source
    return found


def directory(path: object, mode: str, *, uid: int = 0, part: str = "developers", sandbox: str = "") -> dict[str, Any]:
    """One folder of a spec; its group has the same number as its owner."""
    return {"path": str(path), "mode": mode, "uid": uid, "gid": uid, "part": part, "sandbox": sandbox}


def _host_dirs(carrier: str) -> list[dict[str, Any]]:
    return [
        directory(names.ROOT, "0755"),
        directory(names.ROOT / "sandboxes", "0711"),
        directory(names.ROOT / "clones", "0711"),
        directory(names.ETC, "0755"),
        directory(names.PROGRAMS, "0755", part=carrier or "developers"),
        directory(names.LOGS, "0711"),
    ]


def _keep_program(carrier: str) -> dict[str, Any]:
    """What keeps the engine and our services running where there is no systemd; so it comes before both."""
    text = content.role_file("service", "keep")
    path = str(names.PROGRAMS / "keep")
    return {"path": path, "content": text, "mode": "0755", "part": carrier, "sandbox": "", "in_place": False}


def _users(fleet: Fleet, sandboxes: Sequence[Sandbox]) -> list[dict[str, Any]]:
    gecos = names.gecos(fleet.name)
    service = {"name": names.SERVICE_USER, "uid": names.SERVICE_UID, "gecos": gecos, "system": True}
    people = {box.user: box.uid for box in sandboxes}
    return [service, *({"name": n, "uid": uid, "gecos": gecos, "system": False} for n, uid in sorted(people.items()))]


def _engine_source(fleet: Fleet) -> dict[str, Any] | None:
    source = fleet.engine_source
    return {"text": source.text, "packages": list(source.packages)} if source else None


def _image(fleet: Fleet, image_cache: Path) -> dict[str, Any]:
    image = fleet.image
    wanted = asdict(image)
    del wanted["recipe"]
    return {
        **wanted,
        "name": image.name,
        "hash": image.hash,
        "packages": sorted({*image.PACKAGES, *image.packages}),
        "archive": str(image_cache / f"{image.hash}.tar.zst"),
        "builder": False,
    }
