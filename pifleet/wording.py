"""Owns how the operator's own values and names are shown in a mistake: short, escaped, never a secret.
It must not know which rules an inventory has to keep."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

SHOWN = 60
FEW = 12


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


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, or an empty text; a `pifleet_` that all begin with does not count."""
    names = list(known)
    prefix = name[: name.find("_") + 1]
    if not all(one.startswith(prefix) for one in names):
        prefix = ""
    near = difflib.get_close_matches(name.removeprefix(prefix), [one.removeprefix(prefix) for one in names], n=1)
    return prefix + near[0] if near else ""


def choose(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name: the nearest known one, or all of them if they are few."""
    names = list(known)
    if near := nearest(name, names):
        return f"did you mean {near}?"
    if len(names) > FEW:
        return f"none of the {len(names)} known ones is like it"
    return f"use {listed(names)}" if names else "none is defined"
