"""Owns how a run of pi reads while it goes on: its events as lines, one for each tool it uses and each thing it says.
It must not believe a shape: an event is a stranger's, and what is not understood is not shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDTH = 200
# What a person wants to see of a tool's arguments, by the names that pi's own tools use (docs of pi: "Tools").
TELLING = ("command", "path", "pattern", "url")


def lines(event: Mapping[str, Any]) -> list[str]:
    """The lines for one event of pi's JSON mode (docs of pi: "JSON Event Stream"); most events have none."""
    kind = event.get("type")
    if kind == "tool_execution_start":
        return [f"[{_word(event.get('toolName'))}] {_short(_telling(event.get('args')))}"]
    if kind == "tool_execution_end" and event.get("isError") is True:
        return [f"[{_word(event.get('toolName'))} failed] {_short(_text(event.get('result')))}"]
    if kind == "message_end":
        message = event.get("message")
        own = isinstance(message, Mapping) and message.get("role") == "assistant"
        return _text(message).splitlines() if own else []
    if kind == "auto_retry_start":
        return [f"[the model failed; try {_word(event.get('attempt'))}] {_short(_word(event.get('errorMessage')))}"]
    return []


def _telling(args: object) -> str:
    if not isinstance(args, Mapping):
        return ""
    found = next((args[key] for key in TELLING if isinstance(args.get(key), str)), None)
    return str(found) if found is not None else ", ".join(map(str, args))


def _text(holder: object) -> str:
    content = holder.get("content") if isinstance(holder, Mapping) else None
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text")
    return "\n".join(text for text in texts if isinstance(text, str)).strip()


def _word(value: object) -> str:
    return str(value) if isinstance(value, str | int) else "?"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[:WIDTH]}..."
