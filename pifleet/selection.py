"""Owns which part of a fleet a command means: host name patterns, developers, patterns.
It must not know what is done with the rest."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pifleet.fleet import Sandbox
from pifleet.plan import Step


@dataclass(frozen=True)
class Selection:
    """Which part of the fleet is meant: host name patterns, developers, patterns. Empty means all."""

    hosts: tuple[str, ...] = ()
    developers: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def has_host(self, name: str) -> bool:
        return not self.hosts or any(fnmatchcase(name, pattern) for pattern in self.hosts)

    def has_sandbox(self, box: Sandbox) -> bool:
        return (not self.developers or box.developer in self.developers) and (
            not self.patterns or box.pattern in self.patterns
        )

    def has_step(self, step: Step, wanted: Container[str]) -> bool:
        """Whether a step on a host that is meant is meant too; `wanted` are the titles of the sandboxes that are."""
        narrowed = self.developers or self.patterns
        return not narrowed or not step.sandbox or step.sandbox in wanted


ALL = Selection()
