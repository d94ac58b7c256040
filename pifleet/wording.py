"""Owns how the operator's own values and names are shown in a mistake: short, escaped, never a secret.
It must not know which rules an inventory has to keep."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

SHOWN = 60


def show(value: Any) -> str:
    """A value as JSON, cut to 60 characters, with control and non-ASCII characters escaped."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN else f'{text[:SHOWN]}..."'


def path(*parts: Any) -> str:
    """A place in the inventory, `pifleet_repos.web.ref`; parts that are no plain names are quoted."""
    return ".".join(
        str(part) if re.fullmatch(r"[A-Za-z0-9_][\w-]*", str(part), re.ASCII) else json.dumps(str(part))[:SHOWN]
        for part in parts
    )


def listed(names: Iterable[str]) -> str:
    """`a, b or c`, or "none" where there is nothing to list."""
    *first, last = list(names) or ["none"]
    return f"{', '.join(first)} or {last}" if first else last


def choose(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name: the nearest known one, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"use {listed(names)}" if names else "none is defined"
