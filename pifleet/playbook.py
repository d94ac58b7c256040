"""Owns what plain ansible-playbook needs of pifleet when no pifleet command started it: a host's spec and its secrets.
It must not guess where a sandbox lives: without a look at the fleet only pins and single hosts are certain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pifleet.desired import Spec, host_spec, secret_sources
from pifleet.errors import BadInput
from pifleet.inventory import load
from pifleet.look import image_cache
from pifleet.place import candidates


def spec_for_playbook(sources: Sequence[str], host: str) -> Spec:
    """The whole spec of `host`. Raises BadInput where placement is not fixed by the inventory alone."""
    fleet = load([Path(source) for source in sources])
    floating = [box.title for box in fleet.sandboxes if len(candidates(fleet, box)) > 1]
    if floating:
        raise BadInput(
            f"{', '.join(floating)} may live on several hosts, and only pifleet looks where",
            try_="pifleet provision, or pin each sandbox with host:",
        )
    return host_spec(fleet, host, [box for box in fleet.sandboxes if candidates(fleet, box) == (host,)], image_cache())


def secret_for_playbook(sources: Sequence[str], name: str) -> str:
    """The value of one secret that a spec names. Raises SecretUnavailable, or KeyError for a name that no spec has."""
    return secret_sources(load([Path(source) for source in sources]))[name].read().reveal()
