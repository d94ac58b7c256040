"""Owns the files by which pip and npm in a sandbox look where the host's own do, whatever contains them.
It must not know how the host's clients were found out about."""

from __future__ import annotations

from collections.abc import Sequence

from pifleet.desired.egress import Clients
from pifleet.fleet import Sandbox

FOLDER = "/opt/pifleet/etc"
ENVIRONMENT = {"PIP_CONFIG_FILE": f"{FOLDER}/pip.conf", "NPM_CONFIG_GLOBALCONFIG": f"{FOLDER}/npmrc"}


def files(box: Sandbox, clients: Clients) -> dict[str, str]:
    """Name and text of each file, which lies in FOLDER inside; empty for what the sandbox may not reach."""
    seen = {name: (clients.get(name) or {}).get("urls") or () for name in box.egress_sets}
    return {"pip.conf": _pip_conf(seen.get("pip", ())),
            "npmrc": "".join(f"registry={url}\n" for url in seen.get("npm", ())[:1])}


def _pip_conf(urls: Sequence[str]) -> str:
    lines = ["[global]", f"index-url = {urls[0]}"] if urls else []
    return "".join(f"{line}\n" for line in [*lines, *(f"extra-index-url = {' '.join(urls[1:])}" for _ in urls[1:2])])
