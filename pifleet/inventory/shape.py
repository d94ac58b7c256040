"""Owns the way from the operator's variables to a typed `Variables`, with every misshapen part reported in words.
It must not compare one entry with another; what is misshapen is left out, so that the rest can still be compared."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from pifleet.errors import Mistakes
from pifleet.inventory.schema import HOST_VARIABLES, Cluster, Strict, Variables, model_at
from pifleet.wording import choose, path, show

HIDDEN = "a value that is not shown"
KINDS = {"list_type": "use a list", "dict_type": "use a mapping", "model_type": "use a mapping",
         "too_short": "put something into the list"}
STAND_INS: dict[str, Any] = {"pifleet_fleet": "unnamed", "pifleet_developers": {}}
Location = tuple[Any, ...]
Kind = TypeVar("Kind", bound=Strict)


def shape(written: Mapping[str, Any], mistakes: Mistakes) -> Variables:
    """The variables as typed values; what cannot be one is added to `mistakes` and left out."""
    return _shape(Variables, written, mistakes, (), STAND_INS)


def cluster_shape(host: str, written: Mapping[str, Any], mistakes: Mistakes) -> Cluster:
    """What is said of a cluster as typed values, as `shape` does for the fleet."""
    return _shape(Cluster, written, mistakes, ("hosts", host), {})


def _shape(
    kind: type[Kind], written: Mapping[str, Any], mistakes: Mistakes, where: Location, stand_ins: Mapping[str, Any]
) -> Kind:
    values, first = dict(written), True
    while True:
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            found = error.errors(include_url=False)
        if first:
            values = copy.deepcopy(values)
            for one in found:
                at, saw, wanted = _mistake(one, kind)
                mistakes.add(path(*where, *at), saw, wanted)
        # From the back, so that the places of list items still to be taken out stay as they were.
        for one in reversed(found):
            _take_out(values, one["loc"][:-1] if one["type"] == "missing" else one["loc"])
        values = {**stand_ins, **values}
        first = False


def _mistake(error: Any, root: type[Strict]) -> tuple[Location, str, str]:
    location, kind, value = error["loc"], error["type"], error["input"]
    if kind == "extra_forbidden":
        return _unknown_key(location, root)
    if kind == "missing":
        return location, "nothing", f"it is required: {_description(location, root)}"
    if location[-1] == "[key]":
        return (*location[:-2], value), show(value), str(error["ctx"]["wanted"])
    if kind == "literal_error":
        return location, show(value), choose(str(value), re.findall(r"'([^']+)'", error["ctx"]["expected"]))
    wanted = error.get("ctx", {}).get("wanted") or KINDS.get(kind) or error["msg"]
    return location, _seen(location, value), wanted


def _unknown_key(location: Location, root: type[Strict]) -> tuple[Location, str, str]:
    *parent, key = location
    model = model_at(tuple(parent), root)
    known = [*model.model_fields, *(() if parent else HOST_VARIABLES)] if model else []
    return location, "an unknown key", choose(str(key), known)


def _description(location: Location, root: type[Strict]) -> str:
    model = model_at(location[:-1], root)
    return (model.model_fields[location[-1]].description if model else None) or "give it a value"


def _seen(location: Location, value: Any) -> str:
    """What stood there; nothing that may be a secret: keys, tokens, private keys, users and passwords in addresses."""
    if "key" in location or any(str(part).endswith("auth") for part in location) or "PRIVATE" in str(value):
        return HIDDEN
    if isinstance(value, str) and re.search(r"//[^/]*@", value):
        return "an address with a user or a password"
    return show(value)


def _take_out(values: Any, location: Location) -> None:
    """Remove what is at a place, or the repository or model that it belongs to: half of one is none."""
    location = location[:-1] if location and location[-1] == "[key]" else location
    location = location[:2] if location and location[0] in ("pifleet_models", "pifleet_repos") else location
    if not location:
        return
    try:
        for part in location[:-1]:
            values = values[part]
        del values[location[-1]]
    except (KeyError, IndexError, TypeError):
        return  # an earlier error already took out what it belongs to
