"""Owns runs of pi in a sandbox from outside: start, follow, list and stop over one exec each, in every pattern alike.
It must not know the pattern, and believes nothing that comes back beyond its checked shape and size."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pifleet.errors import SandboxFailed
from pifleet.fleet import Sandbox
from pifleet.sandbox import WORKSPACE, Driver
from pifleet.sandbox.inside import ask, misshapen, parsed
from pifleet.sandbox.outcome import End

LISTED = 200
PI = ("pi", "--mode", "json", "-p")


@dataclass(frozen=True)
class Run:
    """One run as the sandbox lists it; `end` is None while it runs."""

    id: str
    prompt: str
    end: End | None


@dataclass(frozen=True)
class Said:
    """One step of following: where to go on (`offset`, in bytes), and pi's event, or None for a mere pulse."""

    offset: int
    event: Mapping[str, Any] | None = None


def new_id() -> str:
    """A name for a run that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def start(driver: Driver, sandbox: Sandbox, prompt: str, *, deadline: float = 0) -> str:
    """Give pi a task and return the run's id at once; it is ended after `deadline` seconds (0: never).

    Raises SandboxFailed, HostFailed.
    """
    run = new_id()
    request = {"do": "start", "run": run, "prompt": prompt, "argv": PI, "deadline": deadline, "workdir": WORKSPACE}
    answer = next(ask(driver, sandbox, "run", request, place="agent"), {})
    if answer.get("started") != run:
        raise SandboxFailed(f"pi did not start in {sandbox.title}", saw=str(answer)[:200])
    return run


def follow(driver: Driver, sandbox: Sandbox, run: str, offset: int = 0) -> Iterator[Said | End]:
    """What pi says from byte `offset` on, pulses in between, and at last one End.

    Raises SandboxFailed when the sandbox falls silent; following can go on from the last offset.
    """
    for answer in ask(driver, sandbox, "run", {"do": "follow", "run": run, "offset": offset}, place="agent"):
        if "end" in answer:
            yield _end(answer["end"], answer.get("stderr"))
            return
        at = answer.get("at")
        if not isinstance(at, int):
            raise misshapen(sandbox)
        yield Said(at, _event(answer.get("line")))
    raise SandboxFailed(f"{sandbox.title} was lost while run {run} went on", try_=f"pifleet logs -f {sandbox.title}")


def listing(driver: Driver, sandbox: Sandbox) -> list[Run]:
    """The newest runs, oldest first, at most 200. Raises SandboxFailed, HostFailed."""
    runs: list[Run] = []
    for answer in ask(driver, sandbox, "run", {"do": "list"}, place="agent"):
        name, prompt = answer.get("run"), answer.get("prompt")
        if not isinstance(name, str) or not isinstance(prompt, str) or len(runs) == LISTED:
            raise misshapen(sandbox)
        runs.append(Run(name, prompt, None if answer.get("running") is True else _end(answer.get("end"), "")))
    return runs


def stop(driver: Driver, sandbox: Sandbox, run: str) -> None:
    """End a run and wait until it has ended; nothing happens to one that has. Raises SandboxFailed, HostFailed."""
    next(ask(driver, sandbox, "run", {"do": "stop", "run": run}, place="agent"), None)


def _event(line: object) -> Mapping[str, Any] | None:
    """pi's event, or None for what is none: a pulse, a line too long to be sent, or a broken one."""
    return parsed(line.encode()) if isinstance(line, str) else None


def _end(value: object, stderr: object) -> End:
    said = stderr if isinstance(stderr, str) else ""
    if not isinstance(value, dict):
        return End(None, "lost", stderr=said)
    code, why, error = value.get("code"), value.get("why"), value.get("error")
    began, ended = value.get("began"), value.get("ended")
    seconds = ended - began if isinstance(began, int | float) and isinstance(ended, int | float) else 0.0
    return End(code if isinstance(code, int) else None, why if why in ("deadline", "stopped") else "",
               error if isinstance(error, str) else "", seconds, said)
