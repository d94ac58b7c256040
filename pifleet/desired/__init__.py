"""Owns the desired state of a host as one JSON document, the spec, which roles, probe and plan all read.
It must not reach a host, and no secret's value ever enters a spec: only its name and where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pifleet import content
from pifleet import fleet as names
from pifleet.desired import gateway, sandbox
from pifleet.fleet import Fleet, Sandbox
from pifleet.secret import SecretSource

Spec = dict[str, Any]

PARTS = ("preflight", "docker", "pi_image", "developers", "model_gateway", "sandbox_docker")
OLDEST_ENGINE = "20.10"


def host_spec(fleet: Fleet, host: str, sandboxes: Sequence[Sandbox], image_cache: Path) -> Spec:
    """Everything that shall be true of `host` when `sandboxes` live there; the carried image lies in `image_cache`."""
    models = [fleet.models[name] for name in sorted({box.model for box in sandboxes})]
    return {
        "fleet": fleet.name,
        "host": host,
        "root": str(names.ROOT),
        "log_dir": str(names.LOGS),
        "parts": list(PARTS),
        "engine": {"minimum": OLDEST_ENGINE},
        "image": _image(fleet, image_cache),
        "users": _users(fleet, sandboxes),
        "dirs": [*_host_dirs(), *gateway.dirs(models), *(d for box in sandboxes for d in sandbox.dirs(box))],
        "files": [
            _keep_program(),
            *gateway.files(models, sandboxes),
            *(f for box in sandboxes for f in sandbox.files(box, fleet.models[box.model])),
        ],
        "secrets": gateway.secrets(models),
        "packages": [
            # Debian 12's engine brings its client along; newer ones have it in a package of its own.
            {"name": "docker-cli", "command": "docker", "part": "docker"},
            {"name": "git", "command": "git", "part": "developers"},
            {"name": "openssh-client", "command": "ssh-agent", "part": "developers"},
            {"name": "ca-certificates", "command": "update-ca-certificates", "part": "developers"},
            {"name": "nginx", "command": "nginx", "part": "model_gateway"},
        ],
        "services": gateway.services(models),
        "sockets": gateway.sockets(models, sandboxes),
        "sandboxes": [sandbox.entry(fleet, box) for box in sandboxes],
        "orphans": [],
    }


def secret_sources(fleet: Fleet) -> Mapping[str, SecretSource]:
    """Where the secrets that some sandbox needs come from: "model:NAME", "repo:NAME:token", "repo:NAME:ssh_key"."""
    found: dict[str, SecretSource] = {}
    for name in dict.fromkeys(box.model for box in fleet.sandboxes):
        if key := fleet.models[name].key:
            found[f"model:{name}"] = key
    for repo in (fleet.repos[name] for name in dict.fromkeys(name for box in fleet.sandboxes for name in box.repos)):
        for kind, source in (("token", repo.token), ("ssh_key", repo.ssh_key)):
            if source:
                found[f"repo:{repo.name}:{kind}"] = source
    return found


def directory(path: object, mode: str, *, uid: int = 0, part: str = "developers", sandbox: str = "") -> dict[str, Any]:
    """One folder of a spec; its group has the same number as its owner."""
    return {"path": str(path), "mode": mode, "uid": uid, "gid": uid, "part": part, "sandbox": sandbox}


def _host_dirs() -> list[dict[str, Any]]:
    return [
        directory(names.ROOT, "0755"),
        directory(names.ROOT / "sandboxes", "0711"),
        directory(names.ROOT / "clones", "0711"),
        directory(names.ETC, "0755"),
        directory(names.PROGRAMS, "0755", part="docker"),
        directory(names.LOGS, "0750"),
    ]


def _keep_program() -> dict[str, Any]:
    """What keeps the engine and our services running where there is no systemd; so it comes before both."""
    text = content.role_file("service", "keep")
    path = str(names.PROGRAMS / "keep")
    return {"path": path, "content": text, "mode": "0755", "part": "docker", "sandbox": "", "in_place": False}


def _users(fleet: Fleet, sandboxes: Sequence[Sandbox]) -> list[dict[str, Any]]:
    gecos = names.gecos(fleet.name)
    service = {"name": names.SERVICE_USER, "uid": names.SERVICE_UID, "gecos": gecos, "system": True}
    people = {box.user: box.uid for box in sandboxes}
    return [service, *({"name": n, "uid": uid, "gecos": gecos, "system": False} for n, uid in sorted(people.items()))]


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
