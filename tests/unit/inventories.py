"""A small good inventory for tests, and a way to write one that differs from it in named places."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pifleet.fleet import Fleet
from pifleet.inventory import load

ABSENT = object()
GOOD: dict[str, Any] = {
    "all": {
        "vars": {
            "pifleet_fleet": "acme",
            "pifleet_defaults": {"pattern": "docker", "model": "dry"},
            "pifleet_models": {
                "dry": {"api": "scripted"},
                "claude": {
                    "api": "anthropic-messages", "base_url": "https://llm.example.com", "key": {"env": "KEY"},
                    "models": ["claude-sonnet-4-5"],
                },
            },
            "pifleet_repos": {
                "web": {"url": "https://git.example.com/acme/web.git", "ref": "main"},
                "api": {"url": "https://git.example.com/acme/api.git", "ref": "v2", "auth": {"token": {"env": "T"}}},
            },
            "pifleet_developers": {
                "ana": {"repos": ["web"]},
                "cy": {"sandboxes": {"kernel": {"repos": ["api"]}, "review": {"repos": ["web"]}}},
            },
        },
        "children": {"pifleet_docker": {"hosts": {"farm-1": {}, "farm-2": {}}}},
    },
}
SHORT = {"vars": ("all", "vars"), "host": ("all", "children", "pifleet_docker", "hosts", "farm-1"),
         "groups": ("all", "children")}


def changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """GOOD with other values at places such as "vars/pifleet_developers/ana/memory"; ABSENT takes one out."""
    inventory = copy.deepcopy(GOOD)
    for place, value in changes.items():
        first, *rest = place.split("/")
        *parents, last = [*SHORT.get(first, (f"pifleet_{first}",)), *rest]
        if first not in SHORT:
            parents = [*SHORT["vars"], *parents]
        at = inventory
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
        if value is ABSENT:
            del at[last]
    return inventory


def written(folder: Path, inventory: Mapping[str, Any] | str, name: str = "inventory.yml") -> Path:
    """A file with the inventory; JSON is YAML, and quotes every hostile character."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(inventory if isinstance(inventory, str) else json.dumps(inventory))
    return file


def fleet(folder: Path, changes: Mapping[str, Any] | None = None, **options: Any) -> Fleet:
    return load([written(folder, changed(changes or {}))], **options)
