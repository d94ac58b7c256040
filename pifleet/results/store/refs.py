"""Owns the names by which a store refers to what a generation's units hold.
It must not read or write a store."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from pifleet.results.units import Unit

_COMPONENT = 100


def refs_of(units: Iterable[Unit]) -> dict[str, str]:
    """Name below the generation's own -> id of every ref that a generation of these units has."""
    return {f"{unit.kind}/{_component(unit.path)}/{name}": oid for unit in units for name, oid in _names(unit).items()}


def _names(unit: Unit) -> Mapping[str, str]:
    head = {"head": unit.facts["head"]} if unit.facts["head"] else {}
    stashes = {f"stashes/{at}": oid for at, oid in enumerate(unit.facts["stashes"])}
    return unit.commits | head | stashes | {name.removeprefix("refs/"): oid for name, oid in unit.refs.items()}


def _component(path: bytes) -> str:
    """A path as one component of a ref name; different paths stay different."""
    if len(path) > _COMPONENT:
        return f"={hashlib.sha256(path).hexdigest()}"
    return re.sub(rb"[^A-Za-z0-9_-]|^-", lambda found: b"=%02X" % found[0][0], path).decode()
