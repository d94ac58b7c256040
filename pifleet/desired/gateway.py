"""Owns what the model gateway of a host is: nginx's configuration, keys by name, services, one socket a sandbox.
It must not know containers, and it never sees a key's value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pifleet import content
from pifleet import fleet as names
from pifleet.fleet import Model, Sandbox
from pifleet.render import render

PART = "model_gateway"
GATEWAY = "pifleet-gateway"
SCRIPTED = "pifleet-scripted-model"
LOG_KEEPER = "pifleet-gateway-log"
TUNNEL = "pifleet-tunnel-"
# Below this path every sandbox reaches the scripted model, whatever else it has: to prove pi at no cost.
SCRIPTED_PATH = "/.pifleet/scripted"
PYTHON = "/usr/bin/python3"
# Debian's and Ubuntu's fixed number of www-data, whom nginx's workers run as (base-passwd).
NGINX_GID = 33
# How a proxy's USER:PASSWORD lies on a host.
LOGIN = 'login "{}";\n'
LOG_BYTES, LOGS_KEPT = 64 << 20, 8
# Stands in a configuration for the hash of the rest.
_ANSWER = "@config-id@"
# The header each API carries its key in (vendors' API references; pi sends the same).
KEY_HEADER = {
    "anthropic-messages": 'proxy_set_header x-api-key "{}";\n',
    "openai-completions": 'proxy_set_header Authorization "Bearer {}";\n',
    "openai-responses": 'proxy_set_header Authorization "Bearer {}";\n',
}


def log() -> str:
    """Where the gateway writes one line a request."""
    return str(names.LOGS / "model_gateway.jsonl")


def keys() -> str:
    """The folder of the files that hold the models' keys, each in the header that carries it."""
    return str(names.ETC / "gateway" / "keys")


def dirs(models: Sequence[Model]) -> list[dict[str, Any]]:
    """Folders of the gateway; in two of them a service user's program makes its socket."""

    def one(path: object, mode: str, uid: int = 0, gid: int = 0) -> dict[str, Any]:
        return {"path": str(path), "mode": mode, "uid": uid, "gid": gid, "part": "developers", "sandbox": ""}

    user, folder = names.SERVICE_UID, names.ETC / "gateway"
    found = [one(folder, "0755"), one(keys(), "0700"), one(_scripted_socket().parent, "0755", user, user)]
    if any(model.ca for model in models):
        found.append(one(folder / "ca", "0755"))
    if any(model.proxy for model in models):
        found.append(one(_tunnels(), "0750", user, NGINX_GID))
    return found


def files(models: Sequence[Model], sandboxes: Sequence[Sandbox]) -> list[dict[str, Any]]:
    """The gateway's programs, its configuration and the authorities that it trusts."""

    def one(path: object, text: str, mode: str) -> dict[str, Any]:
        return {"path": str(path), "content": text, "mode": mode, "part": PART, "sandbox": "", "in_place": False}

    programs = [(PART, "gateway"), (PART, "scripted_model.py"), ("service", "rotate")]
    if any(model.proxy for model in models):
        programs.append((PART, "tunnel"))
    return [
        *(one(names.PROGRAMS / name, content.role_file(role, name), "0755") for role, name in programs),
        one(_conf_file(), nginx_conf(models, sandboxes), "0644"),
        *(one(_ca_file(model), model.ca, "0644") for model in models if model.ca),
    ]


def nginx_conf(models: Sequence[Model], sandboxes: Sequence[Sandbox]) -> str:
    """nginx's whole configuration; it answers health questions with its own hash, so that the probe sees what runs."""
    text = _render_conf(models, sandboxes)
    return text.replace(_ANSWER, _id_of(text))


def config_id(models: Sequence[Model], sandboxes: Sequence[Sandbox]) -> str:
    """16 hex digits over the configuration without them."""
    return _id_of(_render_conf(models, sandboxes))


def secrets(models: Sequence[Model]) -> list[dict[str, Any]]:
    """The key files that nginx includes, and the logins of proxies: readable by root only, the value filled in on the
    host."""

    def one(path: str, template: str, secret: str) -> dict[str, Any]:
        return {"path": path, "mode": "0600", "template": template, "secret": secret, "part": PART}

    return [
        *(one(_key_file(model), KEY_HEADER[model.wire_api], f"model:{model.name}") for model in models if model.key),
        *(one(_login_file(model), LOGIN, f"model:{model.name}:proxy_auth") for model in models if model.proxy_auth),
    ]


def services(models: Sequence[Model]) -> list[dict[str, Any]]:
    """What must run for the gateway to answer, in the order of starting; the gateway is the last.

    `reads` are files that only those processes know which started, or were told, after the last change.
    """
    programs, user = names.PROGRAMS, names.SERVICE_USER

    def one(name: str, *argv: object, user: str = "", reload: str = "", reads: Sequence[str] = ()) -> dict[str, Any]:
        words = [str(word) for word in argv]
        return {"name": name, "argv": words, "user": user, "reload": reload, "reads": list(reads), "part": PART}

    def program(name: str, file: str, *words: object, user: str, reads: Sequence[str] = ()) -> dict[str, Any]:
        path = str(programs / file)
        return one(name, PYTHON, "-I", path, *words, user=user, reads=[path, *reads])

    # One with a login starts as root, which alone reads it, and goes on as the user.
    tunnels = [
        program(TUNNEL + model.name, "tunnel", _tunnel(model), urlsplit(model.proxy).netloc,
                _with_port(model.base_url), *([_login_file(model), user] if model.proxy_auth else []),
                user="" if model.proxy_auth else user, reads=[_login_file(model)] if model.proxy_auth else [])
        for model in models if model.proxy
    ]
    read = [str(_conf_file()), *(_key_file(model) for model in models if model.key),
            *(_ca_file(model) for model in models if model.ca)]
    return [
        program(SCRIPTED, "scripted_model.py", "--socket", _scripted_socket(), user=user),
        *tunnels,
        program(LOG_KEEPER, "rotate", LOG_BYTES, LOGS_KEPT, log(), names.RUN / "nginx.pid", user=""),
        one(GATEWAY, programs / "gateway", _conf_file(), reload="HUP", reads=read),
    ]


def sockets(models: Sequence[Model], sandboxes: Sequence[Sandbox]) -> list[dict[str, Any]]:
    """Where each sandbox must get an answer, and the answer that proves the running configuration is this one."""
    answer = config_id(models, sandboxes)
    return [
        {"path": str(box.model_socket), "sandbox": box.title, "item": "model socket", "part": PART,
         "ask": "/.pifleet/health", "status": 200, "answer": answer}
        for box in sandboxes
    ]


def _id_of(text: str) -> str:
    return names.digest(text.replace(_ANSWER, ""))[:16]


def _render_conf(models: Sequence[Model], sandboxes: Sequence[Sandbox]) -> str:
    return render(
        "model_gateway/templates/nginx.conf.j2",
        config_id=_ANSWER,
        log=log(),
        scripted_path=SCRIPTED_PATH,
        run=str(names.RUN),
        scripted_socket=str(_scripted_socket()),
        models=[_upstream(model) for model in models],
        sandboxes=[
            {"title": box.title, "socket": str(box.model_socket), "models": box.models,
             "at_once": box.limits.requests_at_once, "per_minute": box.limits.requests_per_minute}
            for box in sandboxes
        ],
    )


def _upstream(model: Model) -> dict[str, Any]:
    """How the template's words for one model follow from it; `at` is where nginx connects to."""
    url = urlsplit(model.base_url)
    return {
        "name": model.name,
        "api": model.wire_api,
        "scheme": url.scheme or "http",
        "host": url.netloc or "localhost",
        # nginx asks nameservers only, and these do not know this name.
        "at": "scripted" if model.scripted else f"tunnel_{model.name}" if model.proxy
        else url.netloc.replace("localhost", "127.0.0.1") if url.hostname == "localhost" else url.netloc,
        "tls_name": url.hostname or "",
        "path": url.path.rstrip("/"),
        "key_file": _key_file(model) if model.key else "",
        "ca_file": _ca_file(model) if model.ca else "",
        "tunnel": _tunnel(model) if model.proxy else "",
    }


def _with_port(url: str) -> str:
    netloc = urlsplit(url).netloc
    return netloc if urlsplit(url).port else f"{netloc}:443"


def _conf_file() -> str:
    return str(names.ETC / "gateway" / "nginx.conf")


def _key_file(model: Model) -> str:
    return f"{keys()}/{model.name}.conf"


def _login_file(model: Model) -> str:
    return f"{keys()}/{model.name}.login"


def _ca_file(model: Model) -> str:
    return str(names.ETC / "gateway" / "ca" / f"{model.name}.pem")


def _scripted_socket() -> PurePosixPath:
    return names.ROOT / "scripted" / "model.sock"


def _tunnels() -> PurePosixPath:
    return names.ROOT / "tunnels"


def _tunnel(model: Model) -> str:
    return str(_tunnels() / f"{model.name}.sock")
