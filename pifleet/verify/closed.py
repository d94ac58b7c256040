"""Owns judging a place that is closed by its host: no rights, no network, limits, no key, no way out but the proxy's.
It must not ask anything, or know which pattern is closed in that way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pifleet.fleet import Sandbox
from pifleet.phrases import size
from pifleet.report import Check
from pifleet.verify.rows import Rows, listed

VSOCK = "the hypervisor's socket"
# How the names of attempts of one kind begin, and what a reviewer calls them.
KINDS = {
    "tcp to": "direct connections", "proxy to": "through the egress", "look up": "names", "socket": "host's sockets",
    "folder": "host's folders", "read": "kernel and devices", "write": "kernel's settings",
    "system call": "system calls", "a new": "namespaces and such", "a file": "files outside",
}
LIMITS = ("memory", "pids", "cpus")
Json = Mapping[str, Any]


def user(rows: Rows, uid: int, inside: Json) -> Check:
    """Who runs inside."""
    return rows.check("user", inside.get("uid") == uid, f"runs as uid {inside.get('uid')}")


def rights(rows: Rows, inside: Json) -> Iterator[Check]:
    """No capability, none to be had, a root that cannot be written."""
    sets = inside.get("capabilities")
    sets = sets if isinstance(sets, dict) else {"capabilities": "unknown"}
    held = {name: value for name, value in sets.items() if str(value).strip("0")}
    yield rows.check("capabilities", not held, f"{held}" if held else "none, and none to be had")
    closed = inside.get("no_new_privileges") is True and inside.get("seccomp") is True
    yield rows.check("privileges", closed, "cannot grow; system calls are filtered" if closed else "may grow")
    read_only = inside.get("read_only") is True
    yield rows.check("root", read_only, "read-only" if read_only else "can be written")


def network(rows: Rows, inside: Json) -> Check:
    """Only loopback."""
    interfaces = inside.get("interfaces")
    return rows.check("network", interfaces == ["lo"], f"interfaces: {listed(interfaces)}")


def limits(rows: Rows, box: Sandbox, inside: Json, names: Sequence[str] = LIMITS) -> Iterator[Check]:
    """Those of these names, as promised."""
    found = inside.get("limits")
    found = found if isinstance(found, dict) else {}
    wanted = {"memory": box.limits.memory, "pids": box.limits.pids, "cpus": box.limits.cpus}
    for name in names:
        want, have = wanted[name], found.get(name)
        near = isinstance(have, int | float) and abs(have - want) <= want * 0.01
        yield rows.check(f"limit of {name}", near, _amount(name, have), "" if near else f"want {_amount(name, want)}")


def _amount(name: str, value: object) -> str:
    if not isinstance(value, int | float):
        return "none"
    return size(int(value)) if name == "memory" else f"{value:g}"


def names_of_keys(rows: Rows, inside: Json) -> Check:
    """No variable of a process that is called like a key."""
    named = inside.get("keys")
    return rows.check("names of keys", named == [], f"in the environment: {listed(named)}")


def keys(rows: Rows, outside: Json) -> Check:
    """None of the host's own keys, by the host's word."""
    found = outside.get("keys")
    found = found if isinstance(found, dict) else {}
    if not isinstance(found.get("known"), int):
        return rows.check("keys", False, "could not be looked for from outside")
    if not found["known"]:
        return rows.check("keys", True, "its host has none")
    where, whole = found.get("found"), found.get("whole") is True
    looked = f"{found.get('processes')} processes and their memory, all files: {size(int(found.get('bytes', 0)))}"
    text = f"none of {found['known']} in {looked}" if where == [] else f"found in {listed(where)}"
    if whole or where:
        return rows.check("keys", where == [], text)
    return rows.warn("keys", text, "not all of it in the time given")


def ways_out(rows: Rows, tried: object) -> Iterator[Check]:
    """A row for each kind of attempt, by the first words of their names; what got through is named."""
    if not isinstance(tried, dict) or not tried:
        yield rows.check("ways out", False, "could not be tried")
        return
    open_ways = [f"{name} ({_how(said)})" for name, said in tried.items() if not _refused(said)]
    yield rows.check("ways out", not open_ways, f"{len(tried)} tried, {len(tried) - len(open_ways)} refused",
                     "; ".join(open_ways))
    for kind, names in _kinds(tried).items():
        refused = [name for name in names if _refused(tried[name])]
        text = f"{len(refused)} of {len(names)} refused"
        yield rows.check(f"  {KINDS.get(kind, kind)}", len(refused) == len(names), text, ", ".join(
            f"{name.removeprefix(kind).strip()} {_how(tried[name])}" for name in names))
    if _how(tried.get(VSOCK)) in ("ECONNRESET", "ENODEV", "ETIMEDOUT", "TimeoutError"):
        yield rows.left_open("vsock", "the engine lets sandboxes open sockets to a hypervisor; nobody listened there")


def _kinds(tried: Json) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for name in tried:
        kind = next((start for start in KINDS if name.startswith(f"{start} ")), "other ways")
        kinds.setdefault(kind, []).append(name)
    return kinds


def _refused(said: object) -> bool:
    return isinstance(said, dict) and said.get("refused") is True


def _how(said: object) -> str:
    return str(said.get("how"))[:100] if isinstance(said, dict) else "unknown"
