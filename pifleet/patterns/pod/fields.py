"""Owns how what we want of an object is held against what there is: field by field, and only the fields that are ours.
It must not know any kind of object beyond which of its lists are known by a name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from pifleet.patterns.pod.objects import FROM, Lookup, resolved

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_UNITS = {None: Decimal(1), "m": Decimal("0.001"), "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9,
          "T": Decimal(10) ** 12, "Ki": Decimal(1 << 10), "Mi": Decimal(1 << 20), "Gi": Decimal(1 << 30),
          "Ti": Decimal(1 << 40)}
# By what the API itself tells the items of a list apart (its reference, "patch merge key").
_KEYS = {"containers": "name", "initContainers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath",
         "hostAliases": "ip"}
# Mappings that are ours as a whole: what somebody adds to one counts.
_WHOLE = ("data", "hard", "matchLabels", "nodeSelector", "selector")

# Of these nothing is not the same as false: it leaves the choice to somebody else.
_SAID = ("automountServiceAccountToken", "allowPrivilegeEscalation", "hostUsers")
NOTHING: Mapping[str, Any] = {}


def differences(
    wanted: Mapping[str, Any], seen: Mapping[str, Any], objects: Lookup = NOTHING
) -> dict[str, tuple[Any, Any]]:
    """What is there and what we want, by the path of each field in which they differ.

    What the server fills in is not ours; nothing, false and empty are mostly one; quantities count by what they mean.
    What other objects have to say of a field is taken from `objects`.
    """
    return dict(_mapping(wanted, seen, (), objects))


Found = Iterator[tuple[str, tuple[Any, Any]]]


def _value(wanted: Any, seen: Any, path: tuple[str, ...], objects: Lookup) -> Found:
    if isinstance(wanted, Mapping) and FROM in wanted:
        wanted = resolved(wanted, objects)
    if wanted == seen:
        return
    if isinstance(wanted, Mapping) and wanted and isinstance(seen, Mapping):
        yield from _mapping(wanted, seen, path, objects)
    elif isinstance(wanted, list) and isinstance(seen, list):
        yield from _list(wanted, seen, path, objects)
    elif (wanted or seen or path[-1] in _SAID) and not _same_quantity(wanted, seen):
        yield ".".join(path), (seen, wanted)


def _mapping(wanted: Mapping[str, Any], seen: Mapping[str, Any], path: tuple[str, ...], objects: Lookup) -> Found:
    for key, value in wanted.items():
        yield from _value(value, seen.get(key), (*path, key), objects)
    if path and path[-1] in _WHOLE and not any(isinstance(value, (Mapping, list)) for value in wanted.values()):
        for key in seen.keys() - wanted.keys():
            yield ".".join((*path, key)), (seen[key], None)


def _list(wanted: list[Any], seen: list[Any], path: tuple[str, ...], objects: Lookup) -> Found:
    key = _KEYS.get(path[-1], "")
    if key and all(isinstance(one, Mapping) and key in one for one in [*wanted, *seen]):
        there, ours = ({str(resolved(one[key], objects)): one for one in items} for items in (seen, wanted))
        for name in dict.fromkeys([*ours, *there]):
            if name not in ours:
                yield ".".join((*path, name)), (there[name], None)
            else:
                yield from _value(ours[name], there.get(name), (*path, name), objects)
    elif len(wanted) != len(seen):
        yield ".".join(path), (seen, wanted)
    else:
        for number, (ours, there) in enumerate(zip(wanted, seen, strict=True)):
            yield from _value(ours, there, (*path, str(number)), objects)


def _same_quantity(wanted: Any, seen: Any) -> bool:
    numbers = [quantity(one) for one in (wanted, seen)]
    return None not in numbers and numbers[0] == numbers[1]


def quantity(value: Any) -> Decimal | None:
    """What a quantity such as "500m" or "10Gi" means; None for anything that is none."""
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    return Decimal(found[1]) * _UNITS[found[2]] if found else None


def put_right(wanted: Any, seen: Any, path: tuple[str, ...] = ()) -> Any:
    """What is there with all that differs made as we want it, and what was added taken out: for a whole replacement."""
    if isinstance(wanted, Mapping) and isinstance(seen, Mapping):
        kept = {} if path and path[-1] in _WHOLE else {key: seen[key] for key in seen.keys() - wanted.keys()}
        return kept | {key: put_right(value, seen.get(key), (*path, key)) for key, value in wanted.items()}
    key = _KEYS.get(path[-1], "") if path else ""
    if key and isinstance(wanted, list) and isinstance(seen, list):
        there = {str(one.get(key)): one for one in seen}
        return [put_right(one, there.get(str(one[key])), (*path, str(one[key]))) for one in wanted]
    return wanted
