"""Owns one look at a fleet: every host observed side by side, sandboxes placed, the difference planned.
It must not change anything, print or ask; what it found is a value."""

from __future__ import annotations

import hashlib
import os
import secrets as random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pifleet.desired import Spec, host_spec, secret_sources
from pifleet.desired.egress import NOT_SEEN, Clients
from pifleet.errors import Trouble
from pifleet.events import Emit, silent
from pifleet.fleet import Fleet, Sandbox
from pifleet.keyring import read_secrets
from pifleet.moves import with_moves
from pifleet.observe import Observed, observe
from pifleet.patterns import compare, needs, patterns, seen_box
from pifleet.place import Placement, Trace, may_be_on, place
from pifleet.plan import Plan
from pifleet.report import Check
from pifleet.secret import Secret
from pifleet.selection import ALL, Selection


@dataclass(frozen=True)
class Look:
    """One look at the fleet: what was seen, where sandboxes live, what should be, and the difference."""

    fleet: Fleet
    selection: Selection
    seen: Mapping[str, Observed]
    placement: Placement
    specs: Mapping[str, Spec]
    plan: Plan
    secrets: Mapping[str, Secret] = field(repr=False)


def look(fleet: Fleet, selection: Selection = ALL, emit: Emit = silent, *, keys: bool = True) -> Look:
    """Observe all hosts in parallel and plan. Raises BadInput when a key or a login is not to be had.

    Hosts outside the selection are looked at too, since a sandbox may live there; they get no step. Without `keys` no
    secret is read and the files that hold one are not compared.
    """
    in_files = {name for name in secret_sources(fleet) if not name.startswith("repo:")}
    secrets = read_secrets(fleet, in_files if keys else set())
    nonce = random.token_hex(16)
    hosts = {name: host for name, host in fleet.hosts.items() if host.patterns}

    def spec(host: str, boxes: Iterable[Sandbox], clients: Clients = NOT_SEEN) -> Spec:
        return _complete(host_spec(fleet, host, tuple(boxes), image_cache(), clients), secrets, nonce)

    asked = {name: spec(name, may_be_on(fleet, name)) for name in hosts}
    answers = observe(asked, hosts, on_event=emit, nonce=nonce)
    troubles = {name: _trouble(answer) for name, answer in answers.items()}
    seen = {name: answer for name, answer in answers.items() if isinstance(answer, Observed) and not troubles[name]}
    silent_hosts = tuple((name, why) for name, why in troubles.items() if why and selection.has_host(name))
    needed = {name: list(needs(fleet, name, answer.data)) for name, answer in seen.items()}
    unfit = {name: why for name, checks in needed.items() if (why := _unfit(name, checks))}
    placement = place(
        fleet, {name: _found(fleet, answer) for name, answer in seen.items()},
        {name: 0 if name in unfit else int(answer.data["memory"]) for name, answer in seen.items()},
        {(name, kind) for name, answer in seen.items() for kind, each in patterns().items()
         if each.titles(answer.data, fleet.name) is None},
    )

    def wanted_on(name: str, answer: Observed) -> Spec:
        boxes, clients = placement.on(fleet, name), known_clients(answer)
        same = boxes == may_be_on(fleet, name) and clients == NOT_SEEN
        return asked[name] if same else spec(name, boxes, clients)

    specs = {name: wanted_on(name, answer) for name, answer in seen.items()}
    wanted = {box.title for box in fleet.sandboxes if selection.has_sandbox(box)}
    compared = {name: list(compare(specs[name], seen[name].data)) for name in specs if selection.has_host(name)}
    steps = [step for name, found in compared.items() if name not in unfit
             for step in found if step and selection.has_step(step, wanted)]
    steps = with_moves(steps, placement, seen, fleet, selection, wanted, unfit)
    blocked = tuple((title, trouble) for title, trouble in placement.troubles.items() if title in wanted)
    changing = {step.host for step in steps}
    notes = tuple(check for name in specs if name in changing for check in needed[name] if check.verdict == "note")
    unchanged = sum(step is None for found in compared.values() for step in found)
    left_alone = tuple((name, why) for name, why in unfit.items() if selection.has_host(name))
    plan = Plan(tuple(steps), silent_hosts, blocked, unchanged, left_alone, notes)
    return Look(fleet, selection, seen, placement, specs, plan, secrets)


def known_clients(answer: Observed) -> Clients:
    """What was seen of a host's own pip, npm and apt."""
    return {name: client for name, client in answer.data["clients"].items() if client}


def image_cache() -> Path:
    """Where this controller keeps images between hosts."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pifleet" / "images"


def _complete(spec: Spec, secrets: Mapping[str, Secret], nonce: str) -> Spec:
    """The spec with what is compared: the hash of each file, and of each secret under this look's nonce."""
    for file in spec["files"]:
        file["sha256"] = hashlib.sha256(file["content"].encode()).hexdigest()
    spec["secrets"] = [entry for entry in spec["secrets"] if entry["secret"] in secrets]
    for entry in spec["secrets"]:
        entry["hmac"] = secrets[entry["secret"]].keyed_hash(nonce, entry["template"])
    for each in patterns().values():
        each.complete(spec, secrets.get, nonce)
    return spec


def _unfit(host: str, checks: Iterable[Check]) -> Trouble | None:
    """Why a host cannot carry its pattern: what it lacks can be installed by nobody, or by its owner only."""
    lacking = [check for check in checks if check.verdict == "fail"]
    if not lacking:
        return None
    return Trouble(
        f"{host} cannot carry its pattern, and nothing is installed there",
        saw="; ".join(f"{check.name}: {check.text}" for check in lacking), where=f"host {host}", try_=lacking[0].try_,
    )


def _trouble(answer: Observed | Trouble) -> Trouble | None:
    """Why a host is left alone: it could not be looked at, or somebody else's things are in our way there."""
    if isinstance(answer, Trouble):
        return answer
    if not answer.data["foreign"]:
        return None
    return Trouble(
        f"{answer.host} has things that are not this fleet's in our way", saw="; ".join(answer.data["foreign"]),
        where=f"host {answer.host}", try_="rename the developer, or take the host out of its pifleet groups",
    )


def _found(fleet: Fleet, answer: Observed) -> dict[str, Trace]:
    """The sandboxes of this fleet that are on a host, by what there is of them; of other patterns only its own."""
    titles = {name: set(each.titles(answer.data, fleet.name) or ()) for name, each in patterns().items()}
    found: dict[str, Trace] = {}
    for box in fleet.sandboxes:
        there = {name for name in titles if box.title in titles[name] and name != box.pattern}
        if seen_box(answer.data, box):
            there.add(box.pattern)
        if there or answer.data["paths"].get(str(box.root)):
            found[box.title] = frozenset(there)
    return found
