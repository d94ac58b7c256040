"""Owns what an inventory's groups say: which hosts are pifleet's, with which patterns, and that they agree.
It must not know what a variable means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pifleet.errors import Mistakes
from pifleet.fleet import PATTERNS_OF_GROUP
from pifleet.inventory import rules, schema
from pifleet.wording import choose, listed, path, show

if TYPE_CHECKING:
    from pifleet.inventory.raw import RawInventory

GROUPS = tuple(PATTERNS_OF_GROUP)


def groups(raw: RawInventory, mistakes: Mistakes) -> dict[str, tuple[str, ...]]:
    """Every host that is in a pifleet group, with the groups that it is in."""
    for group, members in raw.groups.items():
        if group not in GROUPS:
            mistakes.add(path(group), "an unknown group", choose(group, GROUPS))
        elif not members:
            mistakes.add(path(group), "a group without hosts", "put a host into it, or remove it")
    hosts = {
        name: tuple(group for group in GROUPS if name in raw.groups.get(group, ()))
        for name in raw.hosts
    }
    hosts = {name: own for name, own in hosts.items() if own}
    if not hosts:
        mistakes.add("all", "no host in a pifleet group", f"put one into {listed(PATTERNS_OF_GROUP)}")
    for name in raw.hosts:
        if not rules.HOST_NAME.allows(name):
            mistakes.add(path("hosts", name), show(name), rules.HOST_NAME.wanted)
    return hosts


def agreed(raw: RawInventory, mistakes: Mistakes) -> dict[str, Any]:
    """The fleet's variables, which are the same on every host; the first host's word counts where they are not."""
    own = {
        host: {name: value for name, value in variables.items()
               if name.startswith("pifleet_") and name not in schema.HOST_VARIABLES}
        for host, variables in raw.hosts.items()
    }
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for variables in own.values() for name in variables):
        having = [host for host in own if name in own[host]]
        found[name] = own[having[0]][name]
        other = next((host for host in own if own[host].get(name) != found[name] or name not in own[host]), None)
        if other:
            mistakes.add(name, f"different values on {having[0]} and {other}", "set it once, under all.vars")
    return found
