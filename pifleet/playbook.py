"""Owns what plain ansible-playbook needs of pifleet when no pifleet command started it: a host's spec and its secrets.
It must not guess where a sandbox lives: without a look at the fleet only pins and single hosts are certain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pifleet.desired import Spec, host_spec, secret_sources
from pifleet.errors import BadInput
from pifleet.inventory import load
from pifleet.look import image_cache
from pifleet.patterns import patterns
from pifleet.place import candidates


def spec_for_playbook(sources: Sequence[str], host: str) -> Spec:
    """The whole spec of `host`. Raises SecretUnavailable, and BadInput where the inventory alone fixes no placement."""
    fleet = load([Path(source) for source in sources])
    floating = [box.title for box in fleet.sandboxes if len(candidates(fleet, box)) > 1]
    if floating:
        raise BadInput(
            f"{', '.join(floating)} may live on several hosts, and only pifleet looks where",
            try_="pifleet provision, or pin each sandbox with host:",
        )
    sets = sorted({name for box in fleet.sandboxes for name in box.egress_sets})
    if sets:
        raise BadInput(
            f"the egress sets {', '.join(sets)} follow the hosts' own clients, and only pifleet looks at these",
            try_="pifleet provision, or list the hosts in egress:",
        )
    here = [box for box in fleet.sandboxes if candidates(fleet, box) == (host,)]
    spec = host_spec(fleet, host, here, image_cache())
    sources_of = secret_sources(fleet)
    for each in patterns().values():
        each.complete(spec, lambda name: sources_of[name].read(), "")
    return spec


def secret_for_playbook(sources: Sequence[str], name: str) -> str:
    """The value of one secret that a spec names. Raises SecretUnavailable, or KeyError for a name that no spec has."""
    return secret_sources(load([Path(source) for source in sources]))[name].read().reveal()
