"""Owns what became of a run, judged from what pi said and how it ended: pi exits 0 when its model failed.
It must not read or start anything, and takes every event as a stranger's: any shape, any length."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SAID_LIMIT = 200
# pi 0.87.1 words a provider's refusal as "STATUS BODY"; a broken connection comes without a status.
_STATUS = re.compile(r"(\d{3})\b\s*(.*)", re.DOTALL)
_BROKEN = re.compile(r"terminated|connection error|fetch failed|socket|econn|network|timed? ?out", re.IGNORECASE)


@dataclass(frozen=True)
class End:
    """How pi's process ended: its `code` (negative: a signal; None: it never ran), and why it was ended, if it was.

    `why` is "", "deadline", "stopped", or "lost" when nothing inside was left to say how it ended.
    """

    code: int | None = 0
    why: str = ""
    error: str = ""
    seconds: float = 0.0
    stderr: str = ""


@dataclass(frozen=True)
class Outcome:
    """Whether a run did what it was asked, in one sentence, and pi's last answer."""

    ok: bool
    sentence: str
    answer: str = ""


def judge(events: Iterable[Mapping[str, Any]], end: End) -> Outcome:
    """The outcome of a run whose `events` pi wrote in its JSON mode."""
    last: Mapping[str, Any] = {}
    retries, settled = 0, False
    for event in events:
        kind, message = event.get("type"), event.get("message")
        if kind == "message_end" and isinstance(message, Mapping) and message.get("role") == "assistant":
            last = message
        elif kind == "auto_retry_start":
            retries += 1
        elif kind == "auto_retry_end" and event.get("success") is True:
            retries = 0
        settled = settled or kind == "agent_settled"
    answer = _text(last.get("content"))
    failure = _ended_badly(end) or (_failed(last, retries) if last else "")
    if not failure and not settled:
        failure = _left_off(end)
    if not failure and not answer:
        failure = "pi ended without an answer"
    return Outcome(not failure, failure or "pi answered", answer)


def _ended_badly(end: End) -> str:
    if end.why == "deadline":
        return f"pi did not end within {end.seconds:.0f} s and was stopped"
    if end.why == "stopped":
        return "the run was stopped"
    if end.why == "lost":
        return "the run was cut off: its sandbox stopped or ran out of memory"
    return f"pi did not start: {_said(end.error)}" if end.error else ""


def _left_off(end: End) -> str:
    if end.code is not None and end.code < 0:
        return f"pi was killed by signal {-end.code}" + (", perhaps for want of memory" if end.code == -9 else "")
    said = _said(end.stderr.strip().splitlines()[-1]) if end.stderr.strip() else ""
    if end.code:
        return f"pi ended with exit code {end.code}" + (f": {said}" if said else "")
    return "pi ended without an answer" + (f": {said}" if said else "")


def _failed(message: Mapping[str, Any], retries: int) -> str:
    reason = message.get("stopReason")
    if reason == "aborted":
        return "the run was stopped"
    if reason == "length":
        return "the model's answer was cut at its length limit"
    if reason != "error":
        return ""
    error = message.get("errorMessage")
    text = error if isinstance(error, str) else ""
    also = f", also after {retries} {'retry' if retries == 1 else 'retries'}" if retries else ""
    found = _STATUS.match(text)
    if not found:
        headline = "the connection to the model broke" if _BROKEN.search(text) else "the model could not be used"
        return f"{headline}{also}: {_said(text) or 'no reason was given'}"
    status, said = int(found.group(1)), _said(_reason(found.group(2)))
    return f"{_refusal(status)}{also} ({status}{': ' + said if said else ''})"


def _refusal(status: int) -> str:
    if status in (401, 403):
        return "the model refused the key"
    if status == 429:
        return "the model's rate limit was reached"
    return "the model's server failed" if status >= 500 else "the model refused the request"


def _reason(body: str) -> str:
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return body


def _text(content: object) -> str:
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text")
    return "\n".join(text for text in texts if isinstance(text, str)).strip()


def _said(text: str) -> str:
    """One short printable line of somebody else's words."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 4 * SAID_LIMIT]).split())
    return line if len(line) <= SAID_LIMIT else line[:SAID_LIMIT] + "..."
