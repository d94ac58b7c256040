"""Owns pattern docker: whole pi in a container without a network, made safe by us; a `pifleet.patterns.Pattern`.
It must not reach a host or know what the model gateway and the egress proxy behind its sockets are made of."""

from pifleet.patterns.docker.desired import complete, extend, needs, parts, paths, removal, services
from pifleet.patterns.docker.plan import compare, cut, seen, titles

__all__ = ["compare", "complete", "cut", "extend", "needs", "parts", "paths", "removal", "seen", "services", "titles"]
