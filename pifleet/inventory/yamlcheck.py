"""Owns the look at a YAML text before anything loads it: that it parses, stays small when its aliases are followed,
and says nothing twice. It must not construct a value or know what the text means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from pifleet.errors import Mistakes
from pifleet.wording import show

NODES = 1_000_000
DEPTH = 100
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class _Open:
    """A list or mapping whose end has not come: how many nodes it stands for, and its keys if it is a mapping."""

    anchor: str | None
    mapping: bool
    nodes: int = 1
    keys: set[str] = field(default_factory=set)
    at_key: bool = True


def check(text: str, where: str, mistakes: Mistakes) -> None:
    """Add what makes a YAML text unfit to load to `mistakes`; `where` is the file's name as the user knows it."""
    try:
        _walk(yaml.parse(text, Loader=LOADER), where, mistakes)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        mistakes.add(f"{where}{line}", error.problem or "no YAML", "write valid YAML")
    except UnicodeEncodeError:
        mistakes.add(where, "bytes that are not UTF-8", "save it as UTF-8")
    except yaml.YAMLError as error:
        mistakes.add(where, str(error).splitlines()[0], "write valid YAML")


def _walk(events: Any, where: str, mistakes: Mistakes) -> None:
    """One pass over the parser's events: an alias costs what it stands for, so a bomb is counted and never built."""
    sizes: dict[str, int] = {}
    stack: list[_Open] = []
    total = 0
    for event in events:
        line = f"{where}:{event.start_mark.line + 1}"
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append(_Open(event.anchor, isinstance(event, yaml.MappingStartEvent)))
            if len(stack) > DEPTH:
                return mistakes.add(line, f"more than {DEPTH} levels", "nest less deeply")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            done = stack.pop()
            anchor, nodes = done.anchor, done.nodes
        elif isinstance(event, yaml.ScalarEvent):
            anchor, nodes = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                return mistakes.add(line, f"alias *{event.anchor}", "define its anchor before it, not around it")
            anchor, nodes = None, sizes[event.anchor]
        else:
            continue
        if anchor:
            sizes[anchor] = nodes
        total = stack[-1].nodes + nodes if stack else total
        if total > NODES:
            return mistakes.add(line, f"aliases that stand for more than {NODES:,} values", "write less")
        if not stack and not isinstance(event, yaml.MappingEndEvent):
            mistakes.add(line, "no mapping", "write a mapping, such as all: {hosts: ...}")
        if stack:
            stack[-1].nodes = total
            _note_key(stack[-1], event, line, mistakes)
    return None


def _note_key(parent: _Open, event: Any, line: str, mistakes: Mistakes) -> None:
    """Keep the mapping's turn between key and value; a key that comes again would silently replace the first."""
    if not parent.mapping:
        return
    if parent.at_key and isinstance(event, yaml.ScalarEvent) and event.value != "<<":
        if event.value in parent.keys:
            mistakes.add(line, f"key {show(event.value)} a second time", "keep one of the two")
        parent.keys.add(event.value)
    parent.at_key = not parent.at_key
