"""Owns which host each sandbox lives on: where it is pinned, else where it really is, else the emptiest host that fits.
It must not look at a host itself; what was seen is given to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pifleet.errors import Trouble
from pifleet.fleet import Fleet, Sandbox

Trace = Literal["container", "folder"]


@dataclass(frozen=True)
class Placement:
    """`host_of` by sandbox title; `troubles` for sandboxes that may not be placed now, with the reason.

    `moves` has the hosts on which something is left of sandboxes that are pinned to another one.
    """

    host_of: Mapping[str, str]
    troubles: Mapping[str, Trouble]
    moves: Mapping[str, str]

    def on(self, fleet: Fleet, host: str) -> tuple[Sandbox, ...]:
        """The sandboxes of `host`, in the order of the inventory."""
        return tuple(box for box in fleet.sandboxes if self.host_of.get(box.title) == host)


def candidates(fleet: Fleet, box: Sandbox) -> tuple[str, ...]:
    """The hosts on which a sandbox may be: its pin, or all that offer its pattern."""
    return (box.host,) if box.host else fleet.hosts_offering(box.pattern)


def may_be_on(fleet: Fleet, host: str) -> tuple[Sandbox, ...]:
    """Every sandbox that a look at `host` has to ask for."""
    return tuple(box for box in fleet.sandboxes if host in candidates(fleet, box) or host in _offers(fleet, box))


def place(fleet: Fleet, seen: Mapping[str, Mapping[str, Trace]], memory: Mapping[str, int]) -> Placement:
    """Decide for every sandbox. `seen` gives for each host that answered what it has, by title; `memory` its bytes.

    A sandbox lives where its container is, or where its folder is when no host has its container. One that is seen
    nowhere is placed only when every host that may hold it answered: otherwise a second one could be made beside the
    first.
    """
    host_of: dict[str, str] = {}
    troubles: dict[str, Trouble] = {}
    moves: dict[str, str] = {}
    homeless: list[Sandbox] = []
    for box in fleet.sandboxes:
        where = _traces(fleet, box, seen, "container") or _traces(fleet, box, seen, "folder")
        if box.host:
            host_of[box.title] = box.host
            left = [*_traces(fleet, box, seen, "container"), *_traces(fleet, box, seen, "folder")]
            if away := [host for host in left if host != box.host]:
                moves[box.title] = away[0]
        elif where:
            host_of[box.title] = where[0]
        elif silent := [host for host in _offers(fleet, box) if host not in seen]:
            troubles[box.title] = _may_be_held(box, silent)
        else:
            homeless.append(box)
    committed = dict.fromkeys(fleet.hosts, 0)
    for box in fleet.sandboxes:
        if box.title in host_of:
            committed[host_of[box.title]] += box.limits.memory
    for box in homeless:
        host = min(
            fleet.hosts_offering(box.pattern),
            key=lambda name: (committed[name] + box.limits.memory > memory.get(name, 0), committed[name], name),
        )
        host_of[box.title] = host
        committed[host] += box.limits.memory
    return Placement(host_of, troubles, moves)


def _offers(fleet: Fleet, box: Sandbox) -> tuple[str, ...]:
    return fleet.hosts_offering(box.pattern)


def _traces(fleet: Fleet, box: Sandbox, seen: Mapping[str, Mapping[str, Trace]], trace: Trace) -> list[str]:
    return [host for host in _offers(fleet, box) if seen.get(host, {}).get(box.title) == trace]


def _may_be_held(box: Sandbox, silent: Sequence[str]) -> Trouble:
    return Trouble(
        f"{box.title} was seen on no host, and {', '.join(silent)} did not answer",
        saw="it may live there, so no second one is made",
        where=f"pifleet_developers.{box.developer}",
        try_=f"bring {silent[0]} back and run pifleet provision again, or pin the sandbox with host:",
    )

