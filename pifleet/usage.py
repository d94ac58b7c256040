"""Owns how much models were used, by developer and day: requests as gateways counted them, tokens as sandboxes say.
It must not believe a sandbox: its word is marked, bounded, and never added to what a gateway counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pifleet.desired.gateway import log
from pifleet.errors import HostFailed, PifleetError, Trouble
from pifleet.events import Emit, Event, silent
from pifleet.fleet import Fleet, Sandbox
from pifleet.observe import ask as ask_host
from pifleet.operate import HOSTS_AT_ONCE, Did, Say, each
from pifleet.results import choose, listing, one_file
from pifleet.sandbox import SESSIONS, Driver
from pifleet.sandbox.inside import ask
from pifleet.sandbox.usage_agent import COUNTED, Days, count
from pifleet.selection import Selection
from pifleet.threads import side_by_side

MOST = 1 << 50
SECONDS = 120
DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass
class Row:
    """One developer's day in UTC; `received` and `sent` are bytes from and to sandboxes, `tokens` null where unsaid."""

    day: str
    developer: str
    requests: int = 0
    failed: int = 0
    received: int = 0
    sent: int = 0
    tokens: dict[str, int] | None = None

    def add(self, requests: int, failed: int, received: int, sent: int) -> None:
        self.requests += requests
        self.failed += failed
        self.received += received
        self.sent += sent

    def say(self, tokens: Mapping[str, int]) -> None:
        """Add what a sandbox says of itself."""
        self.tokens = {word: (self.tokens or {}).get(word, 0) + number for word, number in tokens.items()}

    def as_json(self) -> dict[str, Any]:
        return {
            "day": self.day, "developer": self.developer, "requests": self.requests, "failed": self.failed,
            "received": self.received, "sent": self.sent,
            "tokens_by_the_sandboxes_word": self.tokens,
        }


@dataclass
class Usage:
    """Rows by day and developer, and what could not be asked."""

    days: dict[tuple[str, str], Row] = field(default_factory=dict)
    troubles: list[tuple[str, Trouble]] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        return [self.days[key] for key in sorted(self.days)]

    def row(self, day: str, developer: str) -> Row:
        return self.days.setdefault((day, developer), Row(day, developer))


def usage(fleet: Fleet, boxes: Sequence[Sandbox], selection: Selection, emit: Emit = silent) -> Usage:
    """Read every selected host's gateway log, whoever lives there now, and ask each of `boxes` for its tokens.

    The tokens of a sandbox that does not run come from its last pull. Nothing is raised for a host or a sandbox.
    """
    found = Usage()
    hosts = [name for name, host in fleet.hosts.items() if host.patterns and selection.has_host(name)]
    of_title = {box.title: box for box in boxes}
    logs = side_by_side(hosts, lambda name: _log(fleet, name, emit), HOSTS_AT_ONCE)
    for name, said in zip(hosts, logs, strict=True):
        if isinstance(said, Trouble):
            found.troubles.append((name, said))
            continue
        for day, title, _, *numbers in said:
            if title in of_title:
                found.row(day, of_title[title].developer).add(*numbers)
    silent_hosts = {name for name, _ in found.troubles}
    for did in each(fleet, boxes, _tokens(fleet), emit, stage="ask", selection=selection):
        if did.error and did.host not in silent_hosts:
            found.troubles.append((did.box.title, did.error))
        for day, tokens in _said(did):
            found.row(day, did.box.developer).say(tokens)
    return found


def _log(fleet: Fleet, name: str, emit: Emit) -> Any:
    """A host's totals in the shape of module_utils/gatewaylog.py, or the Trouble of getting them."""
    emit(Event("count", name))
    try:
        said = ask_host(fleet.hosts[name], "gatewaylog", {"log": log()})
    except HostFailed as error:
        emit(Event("count", name, text=error.trouble.headline, state="unreachable"))
        return error.trouble
    emit(Event("count", name, state="ok"))
    return said


def _tokens(fleet: Fleet) -> Any:
    def act(driver: Driver, box: Sandbox, _: Say) -> Any:
        if driver.state(box) != "running":
            return _pulled(fleet, box)
        return next(ask(driver, box, "usage", {"sessions": SESSIONS}, silence=SECONDS), {}).get("days")

    return act


def _pulled(fleet: Fleet, box: Sandbox) -> Days:
    """What the session logs of the last pull say; nothing where nothing was pulled yet."""
    days: Days = {}
    with suppress(PifleetError):
        chosen = choose(Path(fleet.results), box.id, box.title)
        for entry in listing(chosen, "sessions"):
            content = one_file(chosen, entry.name) if entry.name.endswith(".jsonl") and entry.kind == "file" else None
            if content:
                with content:
                    count(content, days)
    return days


def _said(did: Did[Any]) -> Iterator[tuple[str, dict[str, int]]]:
    """A sandbox's word, cut down to what can be a number of tokens on a day."""
    days = did.value if isinstance(did.value, dict) else {}
    for day, said in list(days.items())[:4000]:
        if DAY.fullmatch(day) and isinstance(said, dict):
            numbers = {word: said.get(word) for word in COUNTED.values()}
            yield day, {word: min(max(number, 0), MOST) for word, number in numbers.items() if type(number) is int}
