"""Owns what a stage says while it works: one small value per thing that happened, handed to whoever listens.
It must not know how, where or whether that is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["working", "note", "detail", "ok", "changed", "failed", "skipped", "unreachable"]


@dataclass(frozen=True)
class Event:
    """One line of work. "working" opens or updates the line of `host` and `sandbox` in `stage`; any result closes it.

    "note" is said once beside the line, "detail" too but only to users who asked for more (-v). An empty `host` is the
    controller.
    """

    stage: str
    host: str = ""
    sandbox: str = ""
    text: str = ""
    state: State = "working"


Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """An Emit for callers that want no progress."""
