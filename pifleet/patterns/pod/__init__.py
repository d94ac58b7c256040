"""Owns pattern pod: whole pi in a pod of a cluster, restricted and without a network; a `pifleet.patterns.Pattern`.
It must not reach a cluster."""

from pifleet.patterns.pod.desired import complete, extend, parts, paths, removal, services
from pifleet.patterns.pod.needs import needs
from pifleet.patterns.pod.plan import compare, cut, seen, titles

__all__ = ["compare", "complete", "cut", "extend", "needs", "parts", "paths", "removal", "seen", "services", "titles"]
