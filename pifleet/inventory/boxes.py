"""Owns the sandboxes of an inventory: what its levels say together about each, made into its valid form.
It must not know hosts, or whether what is named exists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pifleet import fleet as valid
from pifleet.egress import HOST_SETS, Destination, smallest
from pifleet.fleet import Limits
from pifleet.inventory import rules, schema


def sandboxes(variables: schema.Variables) -> Iterator[valid.Sandbox]:
    for developer, own in variables.pifleet_developers.items():
        several = "sandboxes" in own.model_fields_set
        for name, sandbox in (own.sandboxes if several else {"main": schema.Sandbox()}).items():
            said = nearest(variables.pifleet_defaults, own, sandbox)
            yield valid.Sandbox(
                developer, name, said.pattern, next(iter(said.model), ""),
                Limits(float(said.cpus), rules.size_in_bytes(said.memory), said.pids, said.requests_at_once,
                       said.requests_per_minute),
                repos=tuple(said.repos), artifacts=tuple(said.artifacts), host=said.host, pi_settings=own.pi.settings,
                other_models=tuple(said.model[1:]), **_egress(said.egress, variables.pifleet_egress_sets),
            )


def _egress(entries: list[Any], sets: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The destinations that entries and the inventory's own sets name, and the sets that only a host can tell."""
    words = [entry for entry in entries if isinstance(entry, str)]
    own = [one for word in words if word not in HOST_SETS for one in sets.get(word, ())]
    found = [one for one in (*entries, *own) if isinstance(one, Destination)]
    return {"egress": smallest(found), "egress_sets": tuple(name for name in HOST_SETS if name in words)}


def nearest(*levels: schema.Level) -> schema.Sandbox:
    """What the levels say together: for each key the word of the last level that says anything; no list is merged."""
    said: dict[str, Any] = {}
    for level in levels:
        said |= {key: getattr(level, key) for key in level.model_fields_set & schema.Sandbox.model_fields.keys()}
    return schema.Sandbox.model_construct(**said)
