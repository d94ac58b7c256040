"""Owns what a host of group pifleet_openshell has: gateway, client, workspaces with model and key, and its sandboxes.
It must not know the host around it, and tells no key's value: only its name and where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from pifleet import fleet as names
from pifleet.content import role_file
from pifleet.desired import clients as client_config
from pifleet.desired import pi
from pifleet.desired.egress import Clients, reach
from pifleet.fleet import Fleet, Host, Model, Sandbox
from pifleet.patterns import Read
from pifleet.patterns.openshell import elsewhere
from pifleet.patterns.openshell.client import BIN, CLIENT_UID, CLIENT_USER, GATEWAY, ROOT, Client
from pifleet.patterns.openshell.policy import policy
from pifleet.render import render
from pifleet.versions import numbers

GATEWAY_PART, SANDBOX_PART = "openshell_gateway", "sandbox_openshell"
PARTS = ("docker", "pi_image", GATEWAY_PART, SANDBOX_PART)
PARTS_ELSEWHERE = (elsewhere.CLIENT_PART, SANDBOX_PART)
GENERATION = "0.0"
DRIVER = "docker"
PORT = 17670
MODEL_PORT = 17671
SERVICE = "pifleet-openshell"
SCRIPTED = "pifleet-openshell-model"
GATEWAY_USER, GATEWAY_UID = "_pifleet-shell", names.FIRST_UID - 11
SANDBOX_USER, SANDBOX_UID = "pi", names.FIRST_UID - 13
STATE = ROOT / "gateway"
CLIENT = Client().folder
KEPT = ROOT / "certificates"
INCOMING = ROOT / "incoming"
CONFIG = names.ETC / "openshell" / "gateway.toml"
TLS = STATE / "state" / "openshell" / "tls"
# By hand, `--from pi` means this to the 0.0.x command (OpenShell: crates/openshell-core/src/image.rs).
SEED_IMAGE = "ghcr.io/nvidia/openshell-community/sandboxes/pi:latest"
MADE_OF = "pifleet.made-of"
# What a provider of 0.0.x calls its key and its address, by pi's API (OpenShell docs: "Providers").
KINDS = {
    "anthropic-messages": ("anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "https://inference.local"),
    "openai-completions": ("openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", "https://inference.local/v1"),
    "openai-responses": ("openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", "https://inference.local/v1"),
}


def parts(host: Host) -> tuple[str, ...]:
    """See `pifleet.patterns.Pattern`."""
    return PARTS_ELSEWHERE if host.gateway else PARTS


def extend(spec: dict[str, Any], fleet: Fleet, boxes: Sequence[Sandbox], clients: Clients) -> None:
    """See `pifleet.patterns.Pattern`; the gateway looks for itself where names lead to."""
    host = fleet.hosts[spec["host"]]
    if host.gateway:
        elsewhere.extend(spec, fleet, host, host.gateway)
        spec["dirs"] += _dirs_of(boxes, elsewhere.CLIENT_PART)
        spec["openshell"] = _openshell(elsewhere.gateway(fleet, host, host.gateway), fleet, boxes, clients)
        return
    scripted = any(fleet.models[box.model].scripted for box in boxes)
    spec["users"] += [
        {"name": name, "uid": uid, "gecos": names.gecos(fleet.name), "system": True}
        for name, uid in ((GATEWAY_USER, GATEWAY_UID), (CLIENT_USER, CLIENT_UID))
    ]
    spec["dirs"] += [*_dirs(), *_dirs_of(boxes, GATEWAY_PART)]
    there = {file["path"] for file in spec["files"]}  # a host may offer both patterns, and play scripts for both
    spec["files"] += [file for file in _files(fleet, scripted=scripted) if file["path"] not in there]
    spec["services"] += services(scripted=scripted)
    spec["engine"]["minimum"] = max(spec["engine"]["minimum"], fleet.openshell.engine, key=numbers)
    spec["openshell"] = _openshell(_gateway(fleet), fleet, boxes, clients)


def _openshell(
    gateway: dict[str, Any], fleet: Fleet, boxes: Sequence[Sandbox], clients: Clients
) -> dict[str, Any]:
    return {
        "gateway": {**gateway, "packages": [
            {"name": one.name, "sha256": one.sha256, "file": one.file, "url": one.url}
            for one in fleet.openshell.packages
        ]},
        "workspaces": _workspaces(fleet, boxes),
        "sandboxes": [_sandbox(fleet, box, clients, gateway) for box in boxes],
        "orphans": [], "left": [],
    }


def complete(spec: dict[str, Any], read: Read, _: str) -> None:
    """See `pifleet.patterns.Pattern`."""
    for workspace in (spec["openshell"] or {}).get("workspaces", ()):
        _name(workspace["provider"], read)


def _name(provider: dict[str, Any], read: Read) -> None:
    """Fill in a provider's name, unless its key is not read.

    A gateway tells neither key nor address back, so the name says what they were made from: another key, another
    name. Twelve digits of a hash keyed with the model's name give away nothing of a key that is worth the word.
    """
    name, key = provider["secret"], ""
    if name:
        secret = read(name)
        if secret is None:
            return
        key = secret.keyed_hash(provider["made_of"][0])
    provider["name"] = f"{GATEWAY}-{names.digest(*provider['made_of'], key)[:12]}"


def pi_models(model: Model) -> dict[str, Any]:
    """pi's models.json: `inference.local` drops the client's key and puts in the provider's."""
    return pi.models([(model, KINDS[model.wire_api][3])])


def _gateway(fleet: Fleet) -> dict[str, Any]:
    return {
        "own": True, "name": GATEWAY, "generation": GENERATION, "driver": DRIVER, "version": fleet.openshell.version,
        "engine": fleet.openshell.engine,
        "endpoint": f"https://127.0.0.1:{PORT}", "namespace": _namespace(fleet), "config": str(CONFIG),
        "auth": "mtls", "until": 0,  # its own certificates end in 4096
        "trust": {"ca.crt": str(TLS / "ca.crt"), "tls.crt": str(TLS / "client" / "tls.crt"),
                  "tls.key": str(TLS / "client" / "tls.key")},
        "packages_dir": str(ROOT / "packages"), "backups": str(ROOT / "backups"), "kept": str(KEPT),
        "incoming": str(INCOMING), "bin": str(BIN),
        "state": str(STATE), "client": str(CLIENT),
        "user": GATEWAY_USER, "client_user": CLIENT_USER,
        "image": {"name": fleet.image.openshell_name, "base": fleet.image.name, "hash": fleet.image.hash,
                  "seed_name": SEED_IMAGE, "user": SANDBOX_USER, "uid": SANDBOX_UID},
    }


def _namespace(fleet: Fleet) -> str:
    """What the gateway's containers are labelled with; changing it would orphan all of them."""
    return f"pifleet-{fleet.name}"


def _workspaces(fleet: Fleet, boxes: Sequence[Sandbox]) -> list[dict[str, Any]]:
    """A workspace for each developer: it is what a route, and so a model, belongs to."""
    found: dict[str, dict[str, Any]] = {}
    for box in boxes:
        model = fleet.models[box.model]
        kind, key, base, _ = KINDS[model.wire_api]
        url = f"http://host.openshell.internal:{MODEL_PORT}" if model.scripted else model.base_url
        found[box.workspace] = {
            "name": box.workspace, "labels": {"pifleet.fleet": fleet.name, "pifleet.developer": box.developer},
            "provider": {
                "name": "", "made_of": [model.name, model.wire_api, url],
                "type": kind, "credential": key, "config": {base: url},
                "secret": f"model:{model.name}" if model.key else "",
            },
            "model": model.model_ids[0],
        }
    return list(found.values())


def _sandbox(fleet: Fleet, box: Sandbox, clients: Clients, gateway: Mapping[str, Any]) -> dict[str, Any]:
    model, image = fleet.models[box.model], gateway["image"]["name"]
    settings = {"models.json": pi.as_json(pi_models(model)), "settings.json": pi.as_json(pi.settings(box, model))}
    labels = _labels(fleet, box)
    if not gateway["own"]:  # it tells neither image nor limits back, so a label says what they were
        labels[MADE_OF] = names.digest(image, str(box.limits.cpus), str(box.limits.memory))[:12]
    return {
        "id": box.id, "title": box.title, "name": box.id, "workspace": box.workspace, "labels": labels,
        "image": image, "cpus": box.limits.cpus, "memory": box.limits.memory,
        "policy": policy(reach(box, clients)),
        "settings": settings | (client_config.files(box, clients) if gateway["own"] else {}),
        "repos": [pi.repo_entry(fleet.repos[name]) for name in box.repos],
    }


def _labels(fleet: Fleet, box: Sandbox) -> dict[str, str]:
    return {"pifleet.fleet": fleet.name, "pifleet.sandbox": box.title.replace("/", ".")}


def _dirs() -> list[dict[str, Any]]:
    def one(path: object, mode: str, uid: int = 0) -> dict[str, Any]:
        return {"path": str(path), "mode": mode, "uid": uid, "gid": uid, "part": "openshell_gateway", "sandbox": ""}

    return [
        one(CONFIG.parent, "0755"), one(BIN, "0755"),
        one(ROOT, "0755"), one(ROOT / "packages", "0755"), one(ROOT / "backups", "0700"), one(KEPT, "0700"),
        one(STATE, "0700", GATEWAY_UID), one(CLIENT, "0700", CLIENT_UID), one(CLIENT / "empty", "0700", CLIENT_UID),
        one(INCOMING, "0700"),
    ]


def _dirs_of(boxes: Sequence[Sandbox], part: str) -> list[dict[str, Any]]:
    """By the first pifleet knows that the sandbox is meant to be here; through the others, of `part`, its clones go
    into it."""

    def one(path: object, mode: str, part: str, title: str = "") -> dict[str, Any]:
        return {"path": str(path), "mode": mode, "uid": 0, "gid": 0, "part": part, "sandbox": title}

    return [
        *(one(box.root, "0711", "developers", box.title) for box in boxes),
        *(one(INCOMING / box.id / name, "0700", part) for box in boxes for name in ("", "workspace")),
    ]


def _files(fleet: Fleet, *, scripted: bool) -> list[dict[str, Any]]:
    def one(path: object, text: str, mode: str) -> dict[str, Any]:
        return {"path": str(path), "content": text, "mode": mode, "part": "openshell_gateway", "sandbox": "",
                "in_place": False}

    toml = render("openshell_gateway/templates/gateway.toml.j2", **_toml(fleet))
    found = [one(CONFIG, toml, "0644")]
    if scripted:
        found.append(one(names.PROGRAMS / "bridged_model", role_file("openshell_gateway", "bridged_model"), "0755"))
        found.append(one(names.PROGRAMS / "scripted_model.py", role_file("model_gateway", "scripted_model.py"), "0755"))
    return found


def _toml(fleet: Fleet) -> Mapping[str, Any]:
    return {
        "port": PORT, "tls": str(STATE / "state" / "openshell" / "tls"), "gateway_id": _namespace(fleet),
        "namespace": _namespace(fleet), "image": fleet.image.openshell_name, "driver": DRIVER,
        "supervisor": str(BIN / "openshell-sandbox"), "pids": 2048,
    }


def removal(fleet: Fleet, _: str, boxes: Sequence[Sandbox], __: Sequence[Sandbox]) -> dict[str, Any]:
    """See `pifleet.patterns.Pattern`."""
    return {"openshell": [
        {"id": box.id, "title": box.title, "name": box.id, "workspace": box.workspace, "labels": _labels(fleet, box)}
        for box in boxes
    ]}


def paths(box: Sandbox) -> list[PurePosixPath]:
    """See `pifleet.patterns.Pattern`."""
    return [box.root, INCOMING / box.id]


def services(*, scripted: bool = True) -> list[dict[str, Any]]:
    """The gateway and, for models that play a script, what plays it.

    A gateway that is asked to end ends its sandboxes too; killed, it finds them again. So it is reloaded by KILL.
    """
    argv = [
        "/usr/bin/setpriv", f"--reuid={GATEWAY_USER}", f"--regid={GATEWAY_USER}", "--groups=docker", "/usr/bin/env",
        f"--chdir={STATE}", *(f"{name}={value}" for name, value in gateway_environment().items()),
        str(BIN / "openshell-gateway"), "--config", str(CONFIG),
    ]
    found = [{"name": SERVICE, "argv": argv, "user": "", "reload": "KILL", "part": "openshell_gateway"}]
    if scripted:
        reads = [str(names.PROGRAMS / name) for name in ("bridged_model", "scripted_model.py")]
        model = ["/usr/bin/python3", "-I", reads[0], "--port", str(MODEL_PORT)]
        found.append({"name": SCRIPTED, "argv": model, "user": names.SERVICE_USER, "reload": "", "reads": reads,
                      "part": "openshell_gateway"})
    return found


def gateway_environment() -> dict[str, str]:
    """What the gateway runs with: everything of its own below its state, and no telemetry."""
    return {
        "HOME": str(STATE), "XDG_CONFIG_HOME": str(STATE / "config"), "XDG_STATE_HOME": str(STATE / "state"),
        "XDG_DATA_HOME": str(STATE / "share"), "XDG_CACHE_HOME": str(STATE / "cache"),
        "PATH": f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "OPENSHELL_TELEMETRY_ENABLED": "false", "OPENSHELL_LOCAL_TLS_DIR": str(STATE / "state" / "openshell" / "tls"),
    }
