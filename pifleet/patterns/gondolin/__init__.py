"""Owns pattern gondolin: pi on the host in a closed place, its tools in a micro-VM; a `pifleet.patterns.Pattern`.
It must not reach a host or know what the model gateway and the egress proxy behind its sockets are made of."""

from pifleet.patterns.gondolin.desired import complete, extend, parts, paths, removal, services
from pifleet.patterns.gondolin.needs import needs
from pifleet.patterns.gondolin.plan import compare, cut, seen, titles

__all__ = ["compare", "complete", "cut", "extend", "needs", "parts", "paths", "removal", "seen", "services", "titles"]
