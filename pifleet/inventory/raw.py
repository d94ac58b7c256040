"""Owns the shape of an inventory that Ansible has rendered and nobody has judged yet.
It must not know what any variable means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RawInventory:
    """What Ansible made of the files: each host's own variables (`pifleet_*` and connection), rendered, in plain types.

    `path` is the first file; `groups` are the pifleet groups with their hosts. Passwords are already `Secret`.
    """

    path: Path
    hosts: Mapping[str, Mapping[str, Any]] = field(repr=False)
    groups: Mapping[str, tuple[str, ...]]

    def variables(self, name: str) -> Mapping[str, Any]:
        """A variable that is a mapping, as written and wherever it is set; empty where it is something else."""
        value: Any = next((variables[name] for variables in self.hosts.values() if name in variables), {})
        return value if isinstance(value, Mapping) else {}
