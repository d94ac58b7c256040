"""Owns doing one thing to many sandboxes: where each lives, one connection per host, all side by side, a row for each.
It must not know what is done to them, or any pattern; a sandbox that fails is a row and stops no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic, TypeVar

from pifleet.errors import HostFailed, PifleetError, Trouble
from pifleet.events import Emit, Event, silent
from pifleet.fleet import Fleet, Sandbox
from pifleet.look import look
from pifleet.place import candidates
from pifleet.report import Outcome, Result
from pifleet.sandbox import Driver, driver_for
from pifleet.selection import ALL, Selection
from pifleet.threads import side_by_side

T = TypeVar("T")
Say = Callable[[str], None]
Act = Callable[[Driver, Sandbox, Say], T]

HOSTS_AT_ONCE = 64
# An ssh server takes 10 sessions on one connection (sshd_config(5), MaxSessions); some stay free for short questions.
ON_ONE_HOST = 8


@dataclass(frozen=True)
class Did(Generic[T]):
    """What became of one sandbox: the act's `value`, or the error that came instead; `seconds` of wall time."""

    box: Sandbox
    host: str
    value: T | None = None
    seconds: float = 0.0
    error: Trouble | None = None
    unreachable: bool = False

    def outcome(self, result: Result = "ok") -> Outcome:
        """The row of a report; `result` is what a success is called."""
        word: Result = result if self.error is None else "unreachable" if self.unreachable else "failed"
        return Outcome(self.host, self.box.title, word, self.seconds, self.error)


def homes(fleet: Fleet, boxes: Sequence[Sandbox], emit: Emit = silent) -> Mapping[str, str | Trouble]:
    """The host of each sandbox by its title, or why that is not known.

    Looks at the fleet only where the inventory leaves a choice.
    """
    choices = {box.title: candidates(fleet, box) for box in boxes}
    if all(len(hosts) == 1 for hosts in choices.values()):
        return {title: hosts[0] for title, hosts in choices.items()}
    placement = look(fleet, emit=emit, keys=False).placement
    return {box.title: placement.troubles.get(box.title) or placement.host_of[box.title] for box in boxes}


def each(
    fleet: Fleet, boxes: Sequence[Sandbox], act: Act[T], emit: Emit = silent, *,
    stage: str, selection: Selection = ALL, at: Mapping[str, str | Trouble] | None = None,
) -> list[Did[T]]:
    """Do `act` to every sandbox that lives on a selected host; rows in the order of `boxes`, nothing raised for one.

    An act gets the sandbox's open driver and a `say` that updates its line of progress. `at` says where sandboxes
    live, when that is known already.
    """
    at = homes(fleet, boxes, emit) if at is None else at
    found: dict[str, Did[T]] = {}
    by_host: dict[str, list[Sandbox]] = {}
    for box in boxes:
        home = at[box.title]
        if isinstance(home, Trouble):
            found[box.title] = Did(box, "", error=home, unreachable=True)
        elif selection.has_host(home):
            by_host.setdefault(home, []).append(box)

    def on_host(name: str) -> None:
        for did in _on_host(fleet, name, by_host[name], act, emit, stage):
            found[did.box.title] = did

    side_by_side(list(by_host), on_host, HOSTS_AT_ONCE)
    return [found[box.title] for box in boxes if box.title in found]


def _on_host(
    fleet: Fleet, name: str, boxes: Sequence[Sandbox], act: Act[T], emit: Emit, stage: str
) -> Iterable[Did[T]]:
    with ExitStack() as stack:
        drivers: dict[str, Driver] = {}
        for box in boxes:
            if box.pattern not in drivers:
                drivers[box.pattern] = stack.enter_context(driver_for(box.pattern)(fleet.hosts[name]))
        try:
            # One question first, so that a host that is off costs one wait and not one for each sandbox.
            drivers[boxes[0].pattern].state(boxes[0])
        except HostFailed as error:
            emit(Event(stage, name, text=error.trouble.headline, state="unreachable"))
            return [Did(box, name, error=error.trouble, unreachable=error.unreachable) for box in boxes]
        return side_by_side(boxes, lambda box: _one(drivers[box.pattern], name, box, act, emit, stage), ON_ONE_HOST)


def _one(
    driver: Driver, host: str, box: Sandbox, act: Act[T], emit: Emit, stage: str
) -> Did[T]:
    started = time.monotonic()
    emit(Event(stage, host, box.title))
    try:
        value = act(driver, box, lambda text: emit(Event(stage, host, box.title, text)))
    except PifleetError as error:
        emit(Event(stage, host, box.title, error.trouble.headline, "failed"))
        gone = isinstance(error, HostFailed) and error.unreachable
        return Did(box, host, None, time.monotonic() - started, error.trouble, gone)
    emit(Event(stage, host, box.title, state="ok"))
    return Did(box, host, value, time.monotonic() - started)
