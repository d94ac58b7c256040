"""Owns what makes pip and npm in a sandbox look where the host's own do, whatever contains them: files, or variables.
It must not know how the host's clients were found out about."""

from __future__ import annotations

from collections.abc import Sequence

from pifleet.desired.egress import Clients
from pifleet.fleet import Sandbox

FOLDER = "/opt/pifleet/etc"
ENVIRONMENT = {"PIP_CONFIG_FILE": f"{FOLDER}/pip.conf", "NPM_CONFIG_GLOBALCONFIG": f"{FOLDER}/npmrc"}


def files(box: Sandbox, clients: Clients) -> dict[str, str]:
    """Name and text of each file, which lies in FOLDER inside; empty for what the sandbox may not reach."""
    pip, npm = _urls(box, clients)
    return {"pip.conf": _pip_conf(pip), "npmrc": "".join(f"registry={url}\n" for url in npm[:1])}


def variables(box: Sandbox, clients: Clients) -> dict[str, str]:
    """The same where no file of ours can be seen; none for what the sandbox may not reach."""
    pip, npm = _urls(box, clients)
    named = {"PIP_INDEX_URL": pip[:1], "PIP_EXTRA_INDEX_URL": pip[1:], "npm_config_registry": npm[:1]}
    return {name: " ".join(urls) for name, urls in named.items() if urls}


def _urls(box: Sandbox, clients: Clients) -> tuple[Sequence[str], Sequence[str]]:
    """Where pip and npm look, if the sandbox may."""
    seen = {name: (clients.get(name) or {}).get("urls") or () for name in box.egress_sets}
    return seen.get("pip", ()), seen.get("npm", ())


def _pip_conf(urls: Sequence[str]) -> str:
    lines = ["[global]", f"index-url = {urls[0]}"] if urls else []
    return "".join(f"{line}\n" for line in [*lines, *(f"extra-index-url = {' '.join(urls[1:])}" for _ in urls[1:2])])
