"""Owns the meaning of Ansible's events: a live line for each host while it runs, a result for each at the end.
It must not print and must not keep what a task was given or returned, except a failure's own message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pifleet.errors import Trouble
from pifleet.events import Emit, Event

STAGE = "hosts"


@dataclass
class HostRun:
    """What a playbook did on one host; `trouble` is None when every task ended well."""

    changed: int = 0
    seconds: float = 0.0
    unreachable: bool = False
    trouble: Trouble | None = None


class Listener:
    """Hears the events of one run. `ended` tells whether Ansible came to its own end."""

    def __init__(self, hosts: Sequence[str], emit: Emit) -> None:
        self.hosts = {host: HostRun() for host in hosts}
        self.ended = False
        self._emit = emit

    def hear(self, event: dict[str, Any]) -> bool:
        """Take one event of ansible-runner; answers False so that it writes no file for it."""
        data = event.get("event_data") or {}
        host, task = data.get("host", ""), data.get("task", "")
        kind = event.get("event", "")
        if kind == "playbook_on_stats":
            self.ended = True
        elif host in self.hosts:
            self._on_host(kind, host, task, data)
        return False

    def _on_host(self, kind: str, host: str, task: str, data: dict[str, Any]) -> None:
        run = self.hosts[host]
        run.seconds += float(data.get("duration") or 0)
        if kind == "runner_on_start":
            role = str(data.get("role") or "").rpartition(".")[2]
            self._emit(Event(STAGE, host, text=f"{role}: {task}" if role else task))
        elif kind == "runner_on_ok" and (data.get("res") or {}).get("changed"):
            run.changed += 1
            self._emit(Event(STAGE, host, text=f"changed: {task}", state="detail"))
        elif kind == "runner_on_unreachable":
            run.unreachable, run.trouble = True, _unreachable(host, data.get("res") or {})
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            run.trouble = _failure(host, task, data)

    def finish(self, last_words: str, seconds: float) -> None:
        """Close every line. `last_words` is what Ansible printed when it ended without saying how it went."""
        for host, run in self.hosts.items():
            run.seconds = run.seconds or seconds
            if not self.ended and run.trouble is None:
                run.trouble = Trouble(
                    "ansible-playbook ended before it was done", saw=last_words, where=f"host {host}",
                    try_="run the same command with --keep-run and read the run's folder",
                )
            state = "unreachable" if run.unreachable else "failed" if run.trouble else "working"
            if state != "working":
                self._emit(Event(STAGE, host, text=run.trouble.headline if run.trouble else "", state=state))  # type: ignore[arg-type]


def _unreachable(host: str, result: dict[str, Any]) -> Trouble:
    return Trouble(
        f"{host} stopped answering", saw=_short(result.get("msg")), where=f"host {host}",
        try_=f"pifleet doctor --limit {host}",
    )


def _failure(host: str, task: str, data: dict[str, Any]) -> Trouble:
    result = data.get("res") or {}
    if result.get("results"):  # a loop; its own message only says that some item failed
        result = next((item for item in result["results"] if item.get("failed")), result)
    role = str(data.get("role") or "").rpartition(".")[2]
    return Trouble(
        _short(result.get("msg") or f"{task} failed"),
        saw=_short(result.get("saw") or result.get("stderr") or result.get("module_stderr")),
        where=f"{role or 'playbook'}: {task}, on {host}",
        try_=str(result.get("try") or f"pifleet doctor --limit {host}"),
    )


def _short(text: object, limit: int = 800) -> str:
    whole = str(text or "").strip()
    return whole if len(whole) <= limit else f"... {whole[-limit:]}"
