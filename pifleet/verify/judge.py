"""Owns what a proof of a sandbox says: each thing that was found held against what was promised, in words.
It must not ask anything; what a sandbox says is the word of one that may lie, and the host's word goes before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pifleet.fleet import Fleet, Sandbox
from pifleet.phrases import size
from pifleet.report import Check
from pifleet.sandbox.verify_agent import PROOF
from pifleet.verify.promise import Promise

WORD = "pifleet-verified"
SHOWN = 5
VSOCK = "the hypervisor's socket"
# How the names of attempts of one kind begin, and what a reviewer calls them.
KINDS = {
    "tcp to": "direct connections", "proxy to": "through the egress", "look up": "names", "socket": "host's sockets",
    "folder": "host's folders", "read": "kernel and devices", "write": "kernel's settings",
    "system call": "system calls", "a new": "namespaces and such", "a file": "files outside",
}
Json = Mapping[str, Any]

# What the patterns leave open, whoever looks; a reviewer has to know it.
NOT_ENFORCED = (
    ("disk", "not limited: workspace and home can fill the file system of the host that they lie on"),
    ("kernel", "shared with the host: a flaw in it is not held off by this pattern"),
    ("model", "sees what the agent sends it; the gateway does not look into it"),
)
BY_POLICY = (
    ("pids", "limited for each sandbox of a gateway alike, not as the inventory says"),
    ("ways out", "not tried; the gateway's policy decides, and its supervisor runs inside"),
    ("keys", "in the gateway's database; files and memory inside are not searched for them"),
)
LISTED_EGRESS = ("egress", "by name and port; what is behind an address, under which other TLS name, cannot be seen")


def judge(fleet: Fleet, box: Sandbox, promised: Promise, inside: Json, outside: Json, tried: object
          ) -> Iterator[Check]:
    """Every check, in the order in which a reviewer reads them."""
    rows = _Rows(box)
    yield from _who(rows, promised, inside)
    if promised.closed:
        yield from _limits(rows, box, inside.get("limits"))
        yield from _keys(rows, inside, outside.get("keys"))
        yield from _ways_out(rows, tried)
    else:
        yield _names_of_keys(rows, inside)
    yield from _parts(rows, fleet, box, promised, inside)
    leaves = (*NOT_ENFORCED, *(() if promised.closed else BY_POLICY), *([LISTED_EGRESS] if box.egress else []))
    for name, text in leaves:
        yield Check(box.title, f"not enforced: {name}", "note", text)


class _Rows:
    def __init__(self, box: Sandbox) -> None:
        self.place, self.again = box.title, f"pifleet provision --developer {box.developer}"

    def check(self, name: str, good: bool, text: str, saw: str = "") -> Check:
        if good:
            return Check(self.place, name, "pass", text, saw)
        return Check(self.place, name, "fail", text, saw, try_=self.again)


def _who(rows: _Rows, promised: Promise, inside: Json) -> Iterator[Check]:
    uid, sets = inside.get("uid"), inside.get("capabilities")
    yield rows.check("user", uid == promised.uid, f"runs as uid {uid}")
    if not promised.closed:
        refused = inside.get("outside") is False
        yield rows.check("policy", refused, "files outside are refused" if refused else "not enforced: outside is open")
        return
    sets = sets if isinstance(sets, dict) else {"capabilities": "unknown"}
    held = {name: value for name, value in sets.items() if str(value).strip("0")}
    yield rows.check("capabilities", not held, f"{held}" if held else "none, and none to be had")
    closed = inside.get("no_new_privileges") is True and inside.get("seccomp") is True
    yield rows.check("privileges", closed, "cannot grow; system calls are filtered" if closed else "may grow")
    interfaces = inside.get("interfaces")
    yield rows.check("network", interfaces == ["lo"], f"interfaces: {_listed(interfaces)}")
    read_only = inside.get("read_only") is True
    yield rows.check("root", read_only, "read-only" if read_only else "can be written")


def _limits(rows: _Rows, box: Sandbox, found: object) -> Iterator[Check]:
    found = found if isinstance(found, dict) else {}
    wanted = {"memory": box.limits.memory, "pids": box.limits.pids, "cpus": box.limits.cpus}
    for name, want in wanted.items():
        have = found.get(name)
        near = isinstance(have, int | float) and abs(have - want) <= want * 0.01
        yield rows.check(f"limit of {name}", near, _amount(name, have), "" if near else f"want {_amount(name, want)}")


def _amount(name: str, value: object) -> str:
    if not isinstance(value, int | float):
        return "none"
    return size(int(value)) if name == "memory" else f"{value:g}"


def _keys(rows: _Rows, inside: Json, found: object) -> Iterator[Check]:
    yield _names_of_keys(rows, inside)
    found = found if isinstance(found, dict) else {}
    if not isinstance(found.get("known"), int):
        yield rows.check("keys", False, "could not be looked for from outside")
    elif not found["known"]:
        yield rows.check("keys", True, "its host has none")
    else:
        where, whole = found.get("found"), found.get("whole") is True
        looked = f"{found.get('processes')} processes and their memory, all files: {size(int(found.get('bytes', 0)))}"
        text = f"none of {found['known']} in {looked}" if where == [] else f"found in {_listed(where)}"
        check = rows.check("keys", where == [], text)
        yield check if whole or where else Check(rows.place, "keys", "warn", text, "not all of it in the time given")


def _names_of_keys(rows: _Rows, inside: Json) -> Check:
    named = inside.get("keys")
    return rows.check("names of keys", named == [], f"in the environment: {_listed(named)}")


def _ways_out(rows: _Rows, tried: object) -> Iterator[Check]:
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
        yield Check(rows.place, "not enforced: vsock", "note",
                    "the engine lets sandboxes open sockets to a hypervisor; nobody listened there")


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


def _parts(rows: _Rows, fleet: Fleet, box: Sandbox, promised: Promise, inside: Json) -> Iterator[Check]:
    if promised.health:
        answers = bool(inside.get("model"))
        yield rows.check("model gateway", answers, "answers" if answers else "does not answer")
    version = inside.get("pi")
    yield rows.check("pi", version == fleet.image.pi_version, f"{version}, pinned is {fleet.image.pi_version}")
    if promised.scripted:
        said = str(inside.get("answer"))
        good = f"{WORD}: {PROOF}" in said
        yield rows.check("pi at work", good, "a scripted model had it write and read a file; no key was used" if good
                         else f"said {said[:100]!r}")
    else:
        yield Check(rows.place, "pi at work", "note", "not tried: only a model that costs is reached from inside")
    repos = inside.get("repos")
    for name in box.repos:
        found = repos.get(name) if isinstance(repos, dict) else None
        found = found if isinstance(found, dict) else {}
        head, base = str(found.get("head") or "")[:12], found.get("base")
        text = "missing or damaged" if not head else f"whole, at {head}, " + (
            "holds its base" if base else "its base is not known" if base is None else "its base is gone")
        yield rows.check(f"repo {name}", bool(head) and base is not False, text)


def _listed(names: object) -> str:
    if not isinstance(names, list):
        return "unknown"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(map(str, names[:SHOWN])) or "none") + more
