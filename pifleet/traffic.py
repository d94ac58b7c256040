"""Owns what a sandbox asked of the network: its host's notes read once, bounded, and counted by destination.
It must not judge a list or change one; what stands in a note came from a sandbox and is believed only in its shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pifleet.connection import connect
from pifleet.desired.egress import LOG
from pifleet.egress import PLAIN_PORT, TLS_PORT, NotAnEntry, Note, Verdict, entry
from pifleet.errors import HostFailed
from pifleet.fleet import OPENSHELL, Host, Sandbox
from pifleet.patterns.openshell import denials
from pifleet.patterns.openshell.client import client_of

# A little more than the two files that the log keeps for a sandbox.
READ_BYTES = 3 << 20
SECONDS = 60
# What a gateway keeps of a sandbox's log (OpenShell: its log buffer holds 2,000 lines).
GATEWAY_LINES = 2000


@dataclass(frozen=True)
class Asked:
    """All requests for one destination: `failed` ones were allowed, but no way led there; `last` is UTC, ISO 8601."""

    name: str
    port: int
    verdict: Verdict
    count: int
    last: str
    entry: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "port": self.port, "verdict": self.verdict, "count": self.count, "last": self.last,
                "entry": self.entry}


def asked(host: Host, box: Sandbox) -> list[Asked]:
    """What the sandbox asked for, refused destinations first, the latest first. Raises HostFailed."""
    if host.cluster:
        from pifleet.kube.notes import notes as told

        text = told(host, box, str(LOG / f"{box.id}.jsonl"), READ_BYTES)
        return counted(box, filter(None, map(proxy_note, text.splitlines())))
    argv, note = _source(host, box)
    with connect(host) as link:
        done = link.run(argv, timeout=SECONDS)
    if done.code == 255:
        raise HostFailed(f"{host.name}: the connection broke while the egress log was read", unreachable=True,
                         try_=f"pifleet doctor --limit {host.name}")
    notes = map(note, done.stdout.decode(errors="replace").splitlines())
    return counted(box, (one for one in notes if one))


def _source(host: Host, box: Sandbox) -> tuple[list[str], Callable[[str], Note | None]]:
    """What prints a sandbox's notes on its host, and what reads a line of them."""
    if box.pattern == OPENSHELL:
        return client_of(host).command("logs", "--workspace", box.workspace, "--source", "sandbox", "-n",
                                       str(GATEWAY_LINES), "--", box.id), denials.note
    path = str(LOG / f"{box.id}.jsonl")
    return ["tail", "-qc", str(READ_BYTES), "--", f"{path}.1", path], proxy_note


def counted(box: Sandbox, notes: Iterable[Note]) -> list[Asked]:
    """The notes by destination."""
    found: dict[tuple[str, int, Verdict], tuple[int, str]] = {}
    for key, time in notes:
        count, last = found.get(key, (0, ""))
        found[key] = count + 1, max(last, time)
    every = [Asked(name, port, verdict, count, last, _entry(box, name, port) if verdict == "refused" else "")
             for (name, port, verdict), (count, last) in found.items()]
    return sorted(sorted(every, key=lambda one: one.last, reverse=True), key=lambda one: one.verdict != "refused")


def proxy_note(line: str) -> Note | None:
    """What a line of the egress proxy's log says; None where it is no note."""
    try:
        note: Mapping[str, Any] = json.loads(line)
        name, port, time = str(note["name"]), int(note["port"]), str(note["time"])
        refused, status = str(note["result"]).startswith("TCP_DENIED"), int(note["status"])
    except (ValueError, KeyError, TypeError):
        return None
    return (name, port, "refused" if refused else "failed" if status >= 500 else "allowed"), time


def _entry(box: Sandbox, name: str, port: int) -> str:
    """What the list would need: a name that is listed already, for more than clones, leads to a private address."""
    where = name if port == TLS_PORT else f"{name}:{port}"
    listed = any((one.name == name or (one.name[:1] == "." and f".{name}".endswith(one.name))) and one.port == port
                 and one.plain == (port == PLAIN_PORT) and not one.clone for one in box.egress)
    return f'{{to: "{name}:{port}", private: true}}' if listed or not _may_stand(where) else where


def _may_stand(where: str) -> bool:
    """Whether a list may have this as it is: a private address may not."""
    try:
        return bool(entry(where))
    except NotAnEntry:
        return False
