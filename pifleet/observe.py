"""Owns looking at hosts: the probe shipped over one connection and one exec to each, all side by side, its answers.
It must not judge what was seen or change a host; a host that cannot be seen is an entry, never an exception."""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pifleet import content
from pifleet.connection import Done, Link, connect
from pifleet.errors import HostFailed, PifleetError, Trouble
from pifleet.events import Emit, Event, silent
from pifleet.fleet import Host
from pifleet.threads import side_by_side

STAGE = "look"
PROBE = 1
MODULES = (
    "clients", "containers", "engine", "engine_look", "filters", "gatewaylog", "gondolin", "heads", "keep", "looking",
    "openshell", "openshell_elsewhere", "openshell_seen", "openshell_trust", "outside", "paths", "probe", "processes",
    "services", "systemd",
)
PACKAGE = "ansible_collections.pifleet.fleet.plugins.module_utils"
AT_ONCE = 64
PROBE_SECONDS = 120

# Gives the modules that arrive on standard input the names under which Ansible would have them, and runs one.
LOADER = f"""
import importlib, json, sys, zlib
from importlib.machinery import ModuleSpec
payload = json.loads(zlib.decompress(sys.stdin.buffer.read()))
sources = {{"{PACKAGE}." + name: text for name, text in payload["modules"].items()}}
class Bundle:
    def find_spec(self, name, path=None, target=None):
        if name in sources or "{PACKAGE}.".startswith(name + "."):
            return ModuleSpec(name, self, is_package=name not in sources)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        exec(compile(sources.get(module.__name__, ""), module.__name__, "exec"), module.__dict__)
sys.meta_path.insert(0, Bundle())
module = importlib.import_module("{PACKAGE}." + payload["main"])
module.main(payload["request"])
"""

SHAPE: Mapping[str, type] = {
    "boot_id": str, "os": dict, "kernel": str, "arch": str, "systemd": bool, "python": str, "memory": int,
    "disk": dict, "engine": dict, "users": dict, "paths": dict, "packages": dict, "services": dict, "sockets": dict,
    "filters": dict, "clients": dict, "images": dict, "containers": dict, "repos": dict,
    "gondolin": dict, "openshell": dict,
    "foreign": list, "unknown": dict, "activity": dict,
}


@dataclass(frozen=True)
class Observed:
    """What the probe saw on `host`, in the shape of `plugins/module_utils/probe.py`.

    What is null was not there, or not seen: then `data["unknown"]` has an entry "SECTION/NAME" with the reason.
    """

    host: str
    data: Mapping[str, Any]


def observe(
    specs: Mapping[str, Mapping[str, Any]], hosts: Mapping[str, Host], *, on_event: Emit = silent,
    nonce: str | None = None,
) -> dict[str, Observed | Trouble]:
    """Look at every host of `specs` at the same time; secrets are answered as HMAC under `nonce`.

    The answers come in the order of `specs`. Nothing is raised for a host.
    """
    nonce = nonce or secrets.token_hex(16)

    def work(name: str) -> Observed | Trouble:
        on_event(Event(STAGE, name))
        answer = _look(hosts[name], specs[name], nonce)
        if isinstance(answer, Trouble):
            on_event(Event(STAGE, name, text=answer.headline, state="unreachable"))
        else:
            on_event(Event(STAGE, name, state="ok"))
        return answer

    return dict(zip(specs, side_by_side(list(specs), work, AT_ONCE), strict=True))


def _look(host: Host, spec: Mapping[str, Any], nonce: str) -> Observed | Trouble:
    try:
        if host.cluster:
            return _look_at_cluster(host, spec, nonce)
        with connect(host) as link:
            return _observed(host, _ask(link, host, payload(spec, nonce), nonce))
    except PifleetError as error:
        return error.trouble
    except Exception as error:  # a host must not end the look at the others, whatever its answer does to us
        return Trouble(f"{host.name}: could not be looked at", saw=f"{type(error).__name__}: {error}",
                       try_=f"pifleet doctor --limit {host.name}")


def _look_at_cluster(host: Host, spec: Mapping[str, Any], nonce: str) -> Observed:
    """What is there of a cluster, and nothing of what only a machine has."""
    from pifleet.kube.look import look

    nothing = {section: kind() for section, kind in SHAPE.items()}
    return Observed(host.name, {**nothing, **look(host, spec, nonce)})


def ask(host: Host, module: str, request: Mapping[str, Any], link: Link | None = None) -> Any:
    """What the `main` of one of MODULES answers as root of a host, as JSON; `link` when one is open. Raises HostFailed.

    It gets the request with a nonce, and answers as the probe does.
    """
    nonce = secrets.token_hex(16)
    wanted = _packed(module, {**request, "nonce": nonce})
    if link:
        return _ask(link, host, wanted, nonce)
    with connect(host) as opened:
        return _ask(opened, host, wanted, nonce)


def _ask(link: Link, host: Host, wanted: bytes, nonce: str) -> Any:
    argv = [host.connection.python, "-IS", "-c", LOADER]
    return _answer(host, link.run(argv, stdin=wanted, timeout=PROBE_SECONDS), nonce)


def payload(spec: Mapping[str, Any], nonce: str) -> bytes:
    """Modules and request of a probe. The contents of files stay here: it answers with hashes."""
    files = [{"path": file["path"]} for file in spec["files"]]
    return _packed("probe", {"spec": {**spec, "files": files}, "nonce": nonce})


def _packed(module: str, request: Mapping[str, Any]) -> bytes:
    return zlib.compress(json.dumps({"modules": _modules(), "main": module, "request": request}).encode())


@cache
def _modules() -> Mapping[str, str]:
    folder = content.root() / "plugins" / "module_utils"
    return {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in MODULES}


def _answer(host: Host, done: Done, nonce: str) -> Any:
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.code == 127:
        python = host.connection.python
        raise HostFailed(f"{host.name}: {python} is not there", saw=said[-1] if said else "",
                         try_=f"install python3 on {host.name}, or set ansible_python_interpreter")
    if done.code == 255:
        raise HostFailed(f"{host.name}: the connection broke while the host was looked at", unreachable=True,
                         try_=f"pifleet doctor --limit {host.name}")
    _, marked, text = done.stdout.partition(f"\n{nonce}\n".encode())
    if done.code or not marked:
        raise HostFailed(f"{host.name}: the probe did not run", saw=said[-1] if said else f"exit code {done.code}",
                         try_=f"pifleet doctor --limit {host.name}")
    try:
        return json.loads(text)
    except ValueError:
        raise _wrong(host, "no JSON document") from None


def _observed(host: Host, data: Any) -> Observed:
    if not isinstance(data, dict) or data.get("probe") != PROBE:
        raise _wrong(host, f"not an answer of probe {PROBE}")
    for key, kind in SHAPE.items():
        if not isinstance(data.get(key), kind):
            raise _wrong(host, f"{key} is no {kind.__name__}")
    return Observed(host.name, data)


def _wrong(host: Host, saw: str) -> HostFailed:
    return HostFailed(f"{host.name}: the probe's answer has a wrong shape", saw=saw,
                      try_=f"pifleet doctor --limit {host.name}")
