"""Owns the comparison of an inventory's entries with each other: what is named exists, what is made is unique.
It must not read a file or judge an entry by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pifleet import fleet as valid
from pifleet.egress import HOST_SETS
from pifleet.errors import Mistakes
from pifleet.fleet import Fleet
from pifleet.inventory import schema
from pifleet.inventory.boxes import nearest
from pifleet.wording import choose, listed, path, show

PATTERNS = tuple(dict.fromkeys(valid.PATTERNS_OF_GROUP.values()))
SANDBOX_LISTS = ("repos", "artifacts")


@dataclass(frozen=True)
class Names:
    """Checks that everything which is meant by name exists; `repos`, `models` and `sets` are the names as written."""

    repos: Mapping[str, Any]
    models: Mapping[str, Any]
    sets: Mapping[str, Any]
    fleet: Fleet
    mistakes: Mistakes

    def check(self, variables: schema.Variables) -> None:
        self._egress_sets(variables.pifleet_egress_sets)
        self._level(("pifleet_defaults",), variables.pifleet_defaults)
        for name, developer in variables.pifleet_developers.items():
            where = ("pifleet_developers", name)
            self._level(where, developer)
            self._list("repos", where, developer.repos)
            several = "sandboxes" in developer.model_fields_set
            for key in SANDBOX_LISTS:
                if several and getattr(developer, key):
                    self.mistakes.add(path(*where, key), f"{key} beside sandboxes", "move it into the sandboxes")
            for sandbox_name, sandbox in developer.sandboxes.items():
                place = (*where, "sandboxes", sandbox_name)
                self._level(place, sandbox)
                self._list("repos", place, sandbox.repos)
                self._resolved(place, nearest(variables.pifleet_defaults, developer, sandbox))
            if not several:
                self._resolved(where, nearest(variables.pifleet_defaults, developer))

    def _level(self, where: tuple[str, ...], level: schema.Level) -> None:
        """The names that are written at one level, so that a wrong default is one mistake and not forty."""
        said = level.model_fields_set
        if "pattern" in said:
            self._pattern(path(*where, "pattern"), level.pattern)
        for name in dict.fromkeys(level.model):
            if name not in self.models:
                self.mistakes.add(path(*where, "model"), show(name), choose(name, self.models))
            elif level.model.count(name) > 1:
                self.mistakes.add(path(*where, "model"), f"{show(name)} more than once", "list it once")
        known = [*HOST_SETS, *self.sets]
        for number, entry in enumerate(level.egress):
            if isinstance(entry, str) and entry not in known:
                wanted = f'write a host without a domain as "{entry}:443"; for a set, {choose(entry, known)}'
                self.mistakes.add(path(*where, "egress", number), show(entry), wanted)
        if isinstance(level, schema.Sandbox) and level.host and level.host not in self.fleet.hosts:
            self.mistakes.add(path(*where, "host"), show(level.host), choose(level.host, self.fleet.hosts))

    def _egress_sets(self, sets: Mapping[str, list[Any]]) -> None:
        for name, entries in sets.items():
            where = ("pifleet_egress_sets", name)
            if name in HOST_SETS:
                self.mistakes.add(path(*where), "a set of this name", "rename it; this one follows each host's clients")
            for number, entry in enumerate(entries):
                if isinstance(entry, str):
                    wanted = f'a set holds hosts and no sets; write the host as "{entry}:443" if it is one'
                    self.mistakes.add(path(*where, number), show(entry), wanted)

    def _pattern(self, where: str, pattern: str) -> None:
        if pattern not in PATTERNS:
            wanted = choose(pattern, PATTERNS)
        elif self.fleet.hosts and not self.fleet.hosts_offering(pattern):
            group = next(group for group, offered in valid.PATTERNS_OF_GROUP.items() if offered == pattern)
            wanted = f"no host offers it; put one into group {group}"
        else:
            return
        self.mistakes.add(where, show(pattern), wanted)

    def _list(self, key: str, where: tuple[str, ...], names: list[str]) -> None:
        for name in dict.fromkeys(names):
            if name not in self.repos:
                self.mistakes.add(path(*where, key), show(name), choose(name, self.repos))
            elif names.count(name) > 1:
                self.mistakes.add(path(*where, key), f"{show(name)} more than once", "list it once")

    def _resolved(self, where: tuple[str, ...], said: schema.Sandbox) -> None:
        if "pattern" not in said.model_fields_set:
            self._pattern("pifleet_defaults.pattern", said.pattern)
        if not said.model and not any(one.path.endswith(".model") for one in self.mistakes.found):
            self.mistakes.add(path(*where, "model"), "nothing", "name one here or in pifleet_defaults")
        host = self.fleet.hosts.get(said.host)
        if host and said.pattern in PATTERNS and said.pattern not in host.patterns:
            offering = self.fleet.hosts_offering(said.pattern)
            self.mistakes.add(
                path(*where, "host"), show(said.host),
                f"it does not offer pattern {said.pattern}; use {listed(offering)}" if offering
                else f"it does not offer pattern {said.pattern}",
            )


def check_unique(fleet: Fleet, variables: schema.Variables, mistakes: Mistakes) -> None:
    """Short names and numbers are made from long ones, so two can meet."""
    ids: dict[str, str] = {}
    addresses: dict[str, str] = {}
    for sandbox in fleet.sandboxes:
        first = addresses.setdefault(sandbox.egress_address, sandbox.title)
        if first != sandbox.title:
            mistakes.add(path("pifleet_developers", sandbox.developer, "sandboxes", sandbox.name),
                         f"the egress address {sandbox.egress_address}, which {first} has too", "rename one of the two")
        first = ids.setdefault(sandbox.id, sandbox.title)
        if first != sandbox.title:
            mistakes.add(path("pifleet_developers", sandbox.developer, "sandboxes", sandbox.name),
                         f"the id {sandbox.id}, which {first} has too", "rename one of the two")
    uids: dict[int, str] = {}
    for developer in variables.pifleet_developers:
        first = uids.setdefault(valid.developer_uid(developer), developer)
        if first != developer:
            mistakes.add(path("pifleet_developers", developer),
                         f"the user number {valid.developer_uid(developer)}, which {first} has too",
                         "rename one of the two")
