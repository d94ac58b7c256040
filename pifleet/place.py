"""Owns which host each sandbox lives on: where it is pinned, else where it really is, else the emptiest host that fits.
It must not look at a host itself; what was seen is given to it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from pifleet.errors import Trouble
from pifleet.fleet import Fleet, Sandbox

# The patterns of which a sandbox is there; none where only its folder is.
Trace = frozenset[str]


@dataclass(frozen=True)
class Placement:
    """`host_of` by sandbox title; `troubles` for sandboxes that may not be placed now, with the reason.

    `moves` has the sandboxes that are to leave, as they still are: on a host that their pin no longer names, or of
    another pattern.
    """

    host_of: Mapping[str, str]
    troubles: Mapping[str, Trouble]
    moves: Mapping[str, Sandbox]

    def on(self, fleet: Fleet, host: str) -> tuple[Sandbox, ...]:
        """The sandboxes of `host`, in the order of the inventory."""
        return tuple(box for box in fleet.sandboxes if self.host_of.get(box.title) == host)


def candidates(fleet: Fleet, box: Sandbox) -> tuple[str, ...]:
    """The hosts on which a sandbox may be: its pin, or all that offer its pattern."""
    return (box.host,) if box.host else fleet.hosts_offering(box.pattern)


def may_be_on(fleet: Fleet, host: str) -> tuple[Sandbox, ...]:
    """Every sandbox that a look at `host` has to ask for."""
    return tuple(box for box in fleet.sandboxes if host in candidates(fleet, box) or host in _offers(fleet, box))


def place(
    fleet: Fleet, seen: Mapping[str, Mapping[str, Trace]], memory: Mapping[str, int],
    untold: Container[tuple[str, str]] = (),
) -> Placement:
    """Decide for every sandbox. `seen` gives for each host that answered what it has, by title; `memory` its bytes;
    `untold` are hosts with a pattern of which they could not say what they have.

    A sandbox lives where its container is, or where its folder is when no host has its container, or where it still is
    one of another pattern. One that is seen nowhere is placed only when every host that may hold it answered: otherwise
    a second one could be made beside the first.
    """
    host_of: dict[str, str] = {}
    troubles: dict[str, Trouble] = {}
    homeless: list[Sandbox] = []
    for box in fleet.sandboxes:
        if box.host:
            host_of[box.title] = box.host
        elif where := _own(fleet, box, seen):
            host_of[box.title] = where[0]
        elif silent := _silent(_offers(fleet, box), box, seen, untold):
            troubles[box.title] = _may_be_held(box, silent)
        elif where := [other.host for other in _of_other_patterns(box, seen) if other.host in _offers(fleet, box)]:
            host_of[box.title] = where[0]
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
    placed = [box for box in fleet.sandboxes if box.title in host_of]
    leaving = {box.title: _leaving(fleet, box, seen) for box in placed}
    return Placement(host_of, troubles, {title: old[0] for title, old in leaving.items() if old})


def _silent(
    hosts: Sequence[str], box: Sandbox, seen: Container[str], untold: Container[tuple[str, str]]
) -> list[str]:
    """Those of `hosts` that may hold a sandbox and do not say. Beside the only one that may, none could be made."""
    hidden = [host for host in hosts if (host, box.pattern) in untold] if len(hosts) > 1 else []
    return [host for host in hosts if host not in seen] + hidden


def _leaving(fleet: Fleet, box: Sandbox, seen: Mapping[str, Mapping[str, Trace]]) -> list[Sandbox]:
    """What there is of a sandbox that is neither where it is pinned nor, elsewhere, of its pattern."""
    away = [replace(box, host=host) for host in _own(fleet, box, seen) if box.host and host != box.host]
    return away + _of_other_patterns(box, seen)


def _of_other_patterns(box: Sandbox, seen: Mapping[str, Mapping[str, Trace]]) -> list[Sandbox]:
    """The sandbox as it still is where its pattern is another one."""
    return [replace(box, host=host, pattern=pattern) for host, there in seen.items()
            for pattern in sorted(there.get(box.title, ())) if pattern != box.pattern]


def _offers(fleet: Fleet, box: Sandbox) -> tuple[str, ...]:
    return fleet.hosts_offering(box.pattern)


def _own(fleet: Fleet, box: Sandbox, seen: Mapping[str, Mapping[str, Trace]]) -> list[str]:
    """The hosts with the sandbox, then those with no more than its folder."""
    there = {host: seen[host][box.title] for host in _offers(fleet, box) if box.title in seen.get(host, {})}
    return [host for host in there if box.pattern in there[host]] + [host for host in there if not there[host]]


def _may_be_held(box: Sandbox, silent: Sequence[str]) -> Trouble:
    return Trouble(
        f"{box.title} was seen on no host, and {', '.join(silent)} did not answer",
        saw="it may live there, so no second one is made",
        where=f"pifleet_developers.{box.developer}",
        try_=f"bring {silent[0]} back and run pifleet provision again, or pin the sandbox with host:",
    )

