"""Owns pattern openshell: whole pi in a sandbox with a policy, behind a gateway; a `pifleet.patterns.Pattern`.
It must not reach a host, and knows OpenShell's 0.0.x generation on the Docker driver only."""

from pifleet.patterns.openshell.desired import complete, extend, parts, paths, removal, services
from pifleet.patterns.openshell.needs import needs
from pifleet.patterns.openshell.plan import compare, cut, seen, titles

__all__ = ["compare", "complete", "cut", "extend", "needs", "parts", "paths", "removal", "seen", "services", "titles"]
