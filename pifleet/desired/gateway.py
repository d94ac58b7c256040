"""Owns what the model gateway of a host is: nginx's configuration, keys by name, services, one socket a sandbox.
It must not know containers, and it never sees a key's value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from pifleet import content
from pifleet import fleet as names
from pifleet.fleet import Model, Sandbox
from pifleet.render import render

PART = "model_gateway"
GATEWAY = "pifleet-gateway"
SCRIPTED = "pifleet-scripted-model"
CONFIG = names.ETC / "gateway" / "nginx.conf"
SCRIPTED_SOCKET = names.ROOT / "scripted" / "model.sock"
# The header each API carries its key in (vendors' API references; pi sends the same).
KEY_HEADER = {
    "anthropic-messages": 'proxy_set_header x-api-key "{}";\n',
    "openai-completions": 'proxy_set_header Authorization "Bearer {}";\n',
    "openai-responses": 'proxy_set_header Authorization "Bearer {}";\n',
}


def dirs(models: Sequence[Model]) -> list[dict[str, Any]]:
    """Folders of the gateway; only the scripted model's belongs to the service user, who makes its socket."""

    def one(path: object, mode: str, uid: int = 0) -> dict[str, Any]:
        return {"path": str(path), "mode": mode, "uid": uid, "gid": uid, "part": "developers", "sandbox": ""}

    found = [one(names.ETC / "gateway", "0755"), one(names.ETC / "gateway" / "keys", "0700")]
    if any(model.scripted for model in models):
        found.append(one(SCRIPTED_SOCKET.parent, "0755", names.SERVICE_UID))
    return found


def files(models: Sequence[Model], sandboxes: Sequence[Sandbox]) -> list[dict[str, Any]]:
    """The gateway's programs and its configuration."""

    def one(path: object, text: str, mode: str) -> dict[str, Any]:
        return {"path": str(path), "content": text, "mode": mode, "part": PART, "sandbox": "", "in_place": False}

    found = [
        one(names.PROGRAMS / "gateway", content.role_file(PART, "gateway"), "0755"),
        one(CONFIG, nginx_conf(models, sandboxes), "0644"),
    ]
    if any(model.scripted for model in models):
        found.append(one(_scripted_program(), content.role_file(PART, "scripted_model.py"), "0755"))
    return found


def nginx_conf(models: Sequence[Model], sandboxes: Sequence[Sandbox]) -> str:
    """nginx's whole configuration; it answers health questions with its own hash, so that the probe sees what runs."""
    return _render_conf(models, sandboxes, config_id(models, sandboxes))


def config_id(models: Sequence[Model], sandboxes: Sequence[Sandbox]) -> str:
    """16 hex digits over the configuration without them."""
    return names.digest(_render_conf(models, sandboxes, ""))[:16]


def secrets(models: Sequence[Model]) -> list[dict[str, Any]]:
    """The key files that nginx includes: readable by root only, the value filled in on the host."""
    return [
        {
            "path": _key_file(model), "mode": "0600", "template": KEY_HEADER[model.wire_api],
            "secret": f"model:{model.name}", "part": PART,
        }
        for model in models
        if model.key
    ]


def services(models: Sequence[Model]) -> list[dict[str, Any]]:
    """What must run for the gateway to answer, in the order of starting."""
    found = []
    if any(model.scripted for model in models):
        argv = ["/usr/bin/python3", "-I", str(_scripted_program()), "--socket", str(SCRIPTED_SOCKET)]
        found.append({"name": SCRIPTED, "argv": argv, "user": names.SERVICE_USER, "reload": "", "part": PART})
    gateway = [str(names.PROGRAMS / "gateway")]
    return [*found, {"name": GATEWAY, "argv": gateway, "user": "", "reload": "HUP", "part": PART}]


def sockets(models: Sequence[Model], sandboxes: Sequence[Sandbox]) -> list[dict[str, Any]]:
    """Where each sandbox must get an answer, and the answer that proves the running configuration is this one."""
    answer = config_id(models, sandboxes)
    return [{"path": str(box.model_socket), "sandbox": box.title, "answer": answer} for box in sandboxes]


def _render_conf(models: Sequence[Model], sandboxes: Sequence[Sandbox], answer: str) -> str:
    return render(
        "model_gateway/templates/nginx.conf.j2",
        config_id=answer,
        log=str(names.LOGS / "model_gateway.jsonl"),
        models=[_upstream(model) for model in models],
        sandboxes=[
            {"id": box.id, "title": box.title, "socket": str(box.model_socket), "model": box.model}
            for box in sandboxes
        ],
    )


def _upstream(model: Model) -> dict[str, Any]:
    url = urlsplit(model.base_url)
    return {
        "name": model.name,
        "api": model.wire_api,
        "upstream_scheme": url.scheme,
        "upstream_host": url.netloc,
        "upstream_name": url.hostname or "",
        "upstream_path": url.path.rstrip("/"),
        "key_file": _key_file(model) if model.key else "",
        "scripted_socket": str(SCRIPTED_SOCKET) if model.scripted else "",
    }


def _key_file(model: Model) -> str:
    return str(names.ETC / "gateway" / "keys" / f"{model.name}.conf")


def _scripted_program() -> str:
    return str(names.PROGRAMS / "scripted_model.py")
