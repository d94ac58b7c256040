"""Owns following one run: its lines said as they come, and what became of it.
It must not keep more of what pi says than judging needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pifleet.cli.talk import lines
from pifleet.fleet import Sandbox
from pifleet.sandbox import Driver, runs
from pifleet.sandbox.outcome import End, Outcome, judge

JUDGED = ("message_end", "auto_retry_start", "auto_retry_end", "agent_settled")


def follow(
    driver: Driver, box: Sandbox, run: str, say: Callable[[str], None], *, to_the_end: bool
) -> Outcome | None:
    """Say what pi says, from the run's beginning up to now, or to its end; the outcome, None while the run goes on.

    Raises SandboxFailed, HostFailed.
    """
    events: list[Mapping[str, Any]] = []
    for said in runs.follow(driver, box, run):
        if isinstance(said, End):
            return judge(events, said)
        if said.event is None:
            if not to_the_end:
                break
            continue
        for line in lines(said.event):
            say(line)
        if said.event.get("type") in JUDGED:
            events.append(said.event)
    return None
