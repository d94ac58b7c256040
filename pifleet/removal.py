"""Owns taking sandboxes or a whole host's share of a fleet away: what is there, what goes, what is left afterwards.
It must not judge whether work is home: whoever calls `remove` has made sure of that."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pifleet.converge import converge
from pifleet.desired import Spec, egress, host_spec
from pifleet.desired.gateway import services
from pifleet.errors import Trouble
from pifleet.events import Emit, silent
from pifleet.fleet import RUN, Fleet, Limits, Model, Sandbox, gecos
from pifleet.kube import within
from pifleet.lock import locked
from pifleet.look import Look, image_cache, known_clients, look
from pifleet.patterns import pattern, patterns, seen_box
from pifleet.report import Outcome
from pifleet.results import reserved
from pifleet.threads import side_by_side


@dataclass(frozen=True)
class Target:
    """A sandbox that is to go, as it was seen on `host`: what is left of it, and whether an agent is at work in it:
    None where only its inside can tell."""

    box: Sandbox
    host: str
    container: bool
    folder: bool
    at_work: bool | None


def targets(found: Look) -> list[Target]:
    """Every sandbox of the fleet of which something is there, also of those that left the inventory or are to move.

    A folder is the one's whose container is there, where two patterns share it.
    """
    return [one for host in found.seen for one in _on(found, host) if one.container or one.folder]


def _on(found: Look, host: str) -> list[Target]:
    known = {(box.title, box.pattern) for box in found.fleet.sandboxes}
    others = [old for old in found.placement.moves.values()
              if old.host == host and (old.title, old.pattern) not in known]
    mine = [target(found, box, host) for box in (*found.fleet.sandboxes, *others, *_left(found, host))]
    held = {one.box.title for one in mine if one.container}
    return [one for one in mine if one.container or one.box.title not in held]


def target(found: Look, box: Sandbox, host: str) -> Target:
    """What there is of a sandbox on a host."""
    data = found.seen[host].data
    there = seen_box(data, box)
    paths = data["paths"]
    folder = bool(isinstance(paths, Mapping) and paths.get(str(box.root)))
    agent = (there or {}).get("agent", {})
    return Target(box, host, bool(there), folder, None if agent is None else bool(agent.get("processes")))


def busy(fleet: Fleet, going: Sequence[Target]) -> set[str]:
    """The titles of those in which an agent is at work, or may be; where a look could not tell, pods are asked."""
    def one(target: Target) -> bool:
        host = fleet.hosts[target.host]
        if target.at_work is not None or not host.cluster:
            return bool(target.at_work)
        said = within.agent(host, f"{host.cluster.namespace_of(target.box.developer)}/{target.box.pod}")
        return said is None or bool(said["processes"])

    working = side_by_side(list(going), one, within.ASKED_AT_ONCE)
    return {target.box.title for target, at_work in zip(going, working, strict=True) if at_work}


def remove(
    found: Look, going: Sequence[Target], emit: Emit = silent, *, whole_hosts: Sequence[str] = ()
) -> list[Outcome]:
    """Delete what is `going` with its data, and on `whole_hosts` everything of the fleet; then look what is left.

    Every target of a whole host has to be among `going`. A host that fails is an outcome. Raises SandboxFailed while
    one of them is being pulled; nothing was touched then.
    """
    started = time.monotonic()
    names = dict.fromkeys([*whole_hosts, *(one.host for one in going)])
    specs = {name: _spec(found, name, going, whole=name in whole_hosts) for name in names}
    hosts = {name: found.fleet.hosts[name] for name in specs}
    ending = {name: [one.box for one in going if one.host == name] for name in specs}
    with ExitStack() as held, locked(hosts, ending, "removal") as troubles:
        for one in going:
            held.enter_context(reserved(Path(found.fleet.results), one.box.id, "removal"))
        free = {name: spec for name, spec in specs.items() if name not in troubles}
        run = converge(free, found.fleet.hosts, {}, playbook="remove", emit=emit) if free else None
        troubles |= {name: host.trouble for name, host in run.hosts.items() if host.trouble} if run else {}
    again = look(found.fleet, emit=emit, keys=False)
    still = {(one.host, one.box.title, one.box.pattern) for one in targets(again)}
    seconds = time.monotonic() - started
    rows = [_outcome(one.host, one.box.title, again, troubles.get(one.host), seconds,
                     gone=(one.host, one.box.title, one.box.pattern) not in still) for one in going]
    return rows + [_outcome(name, "", again, troubles.get(name), seconds, gone=True) for name in whole_hosts]


def _outcome(host: str, title: str, again: Look, trouble: Trouble | None, seconds: float, *, gone: bool) -> Outcome:
    unseen = dict(again.plan.unreachable).get(host)
    if unseen:
        return Outcome(host, title, "unreachable", seconds, unseen)
    if trouble or not gone:
        left = Trouble(f"{title} is still there", where=f"host {host}", try_="the same command again")
        return Outcome(host, title, "failed", seconds, trouble or left)
    return Outcome(host, title, "changed", seconds)


def _spec(found: Look, host: str, going: Sequence[Target], *, whole: bool) -> Spec:
    """The spec of those that stay, without secrets (the keys that are there stay), and what to remove."""
    own = [one.box for one in going if one.host == host]
    seen = found.seen[host].data
    stay = [box for box in found.placement.on(found.fleet, host) if box not in own and seen_box(seen, box)]
    people = {box.user: box.uid for box in own if box.user not in {other.user for other in stay}}
    users = [{"name": name, "uid": uid, "gecos": gecos(found.fleet.name)} for name, uid in people.items()]
    spec = host_spec(found.fleet, host, stay, image_cache(), known_clients(found.seen[host]))
    return {
        **spec,
        # With all of a host also the service goes that no model of those that stay would name.
        "services": _every_service() if whole else spec["services"],
        "secrets": [],
        "parts": [part for part in spec["parts"] if part in ("model_gateway", "egress_proxy", "cluster")],
        "remove": {
            "host": whole, "users": users,
            **{key: _with_paths(entries, own, stay) for name, each in patterns().items()
               for key, entries in each.removal(
                   found.fleet, host, [box for box in own if box.pattern == name], stay).items()},
        },
    }


def _with_paths(entries: Sequence[dict[str, Any]], own: Sequence[Sandbox], stay: Sequence[Sandbox]) -> list[Any]:
    """The entries of a removal, each with the `paths` that go: not those in which its successor works."""
    return [{**entry, "paths": own_paths(box, stay)} for entry in entries for box in own if box.id == entry["id"]]


def own_paths(box: Sandbox, stay: Sequence[Sandbox]) -> list[str]:
    """What goes of a host with a sandbox, outermost folders only: nothing that a successor among `stay` has too."""
    kept = {path for other in stay if other.id == box.id for path in pattern(other.pattern).paths(other)}
    gone = [path for path in pattern(box.pattern).paths(box)
            if not any(path in (one, *one.parents) for one in kept)]
    gone = [path for path in gone if not set(path.parents) & set(gone)]
    return [str(path) for path in (*gone, *([] if kept else [RUN / f"{box.id}.lock"]))]


def _left(found: Look, host: str) -> list[Sandbox]:
    """Sandboxes of this fleet that are there and no longer in its inventory."""
    known = {box.title for box in found.fleet.sandboxes}
    data = found.seen[host].data
    there = ((name, title) for name, each in patterns().items() for title in each.titles(data, found.fleet.name) or ())
    return [_gone(title, name) for name, title in there if title not in known and title.count("/") == 1]


def _gone(title: str, pattern: str) -> Sandbox:
    """A sandbox that the inventory no longer knows, as far as its title tells."""
    developer, _, name = title.partition("/")
    return Sandbox(developer, name, pattern, "", Limits())


def _every_service() -> list[dict[str, Any]]:
    own = [service for each in patterns().values() for service in each.services()]
    return [*services([Model("any", api="scripted")]), *egress.services(), *own]
