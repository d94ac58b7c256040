"""Owns the comparison of an inventory's entries with each other, and the `Fleet` that a sound inventory describes.
It must not reach a host or know how variables came from files; it reads only the files that the inventory names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pifleet import fleet as valid
from pifleet.errors import Mistakes
from pifleet.fleet import Fleet, Host, Image, Limits
from pifleet.inventory import rules, schema
from pifleet.inventory.hostvars import connection
from pifleet.inventory.shape import shape
from pifleet.secret import Secret, SecretSource
from pifleet.wording import choose, listed, path, show

if TYPE_CHECKING:
    from pifleet.inventory.raw import RawInventory

PATTERNS = tuple(valid.PATTERNS_OF_GROUP.values())
LATER_PATTERNS = ("gondolin", "openshell", "pod")
LATER_GROUPS = ("pifleet_gondolin", "pifleet_openshell", "pifleet_openshell_gateways", "pifleet_clusters")
GROUPS = (*valid.PATTERNS_OF_GROUP, *LATER_GROUPS)
SANDBOX_LISTS = ("repos", "artifacts")
TEXT_LIMIT = 1 << 20


def fleet_from(raw: RawInventory, *, become_password: Secret | None = None) -> Fleet:
    """The fleet that the variables describe. Raises BadInput with every mistake that was found."""
    mistakes = Mistakes()
    groups = _groups(raw, mistakes)
    variables = shape(_agreed(raw, mistakes), mistakes)
    folder = Folder(raw.path.absolute().parent, mistakes)
    known_hosts = str(folder.at(variables.pifleet_known_hosts)) if variables.pifleet_known_hosts else ""
    hosts = {
        name: Host(name, of_host, connection(
            name, raw.hosts[name], mistakes, known_hosts=known_hosts, become_password=become_password))
        for name, of_host in groups.items()
    }
    repos = {name: _repo(name, repo, folder) for name, repo in variables.pifleet_repos.items()}
    models = {name: _model(name, model, folder) for name, model in variables.pifleet_models.items()}
    fleet = Fleet(
        name=variables.pifleet_fleet, hosts=hosts, repos=repos, models=models, image=_image(variables, folder),
        results=str(folder.at(variables.pifleet_results)),
        sandboxes=tuple(_sandboxes(variables)),
    )
    names = Names(raw.variables("pifleet_repos"), raw.variables("pifleet_models"), fleet, mistakes)
    names.check(variables)
    _check_unique(fleet, variables, mistakes)
    count = len(dict.fromkeys(mistakes.found))
    mistakes.raise_any(f"the inventory has {count} mistake{'s' if count > 1 else ''}")
    return fleet


@dataclass(frozen=True)
class Folder:
    """The folder of the inventory, to which the files that it names are relative."""

    path: Path
    mistakes: Mistakes

    def at(self, name: str) -> Path:
        return Path(os.path.normpath(self.path / Path(name).expanduser()))

    def text(self, name: str, where: str) -> str:
        """A named file's text, or a mistake at `where`."""
        try:
            with self.at(name).open(encoding="utf-8") as file:
                text = file.read(TEXT_LIMIT + 1)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            self.mistakes.add(where, show(name), f"name a file that can be read ({reason})")
            return ""
        if len(text) > TEXT_LIMIT:
            self.mistakes.add(where, show(name), "name a file of at most 1 MiB")
        return text

    def secret(self, source: schema.Source | None) -> SecretSource | None:
        if source is None:
            return None
        if source.command:
            return SecretSource("command", tuple(source.command))
        return SecretSource("file", str(self.at(source.file))) if source.file else SecretSource("env", source.env)


def _groups(raw: RawInventory, mistakes: Mistakes) -> dict[str, tuple[str, ...]]:
    """Every host that is in a pifleet group, with the groups that it is in."""
    for group, members in raw.groups.items():
        if group not in GROUPS:
            mistakes.add(path(group), "an unknown group", choose(group, GROUPS))
        elif not members:
            mistakes.add(path(group), "a group without hosts", "put a host into it, or remove it")
    hosts = {
        name: tuple(group for group in GROUPS if name in raw.groups.get(group, ()))
        for name in raw.hosts
    }
    hosts = {name: groups for name, groups in hosts.items() if groups}
    if not hosts:
        mistakes.add("all", "no host in a pifleet group", f"put one into {listed(valid.PATTERNS_OF_GROUP)}")
    for name in raw.hosts:
        if not rules.HOST_NAME.allows(name):
            mistakes.add(path("hosts", name), show(name), rules.HOST_NAME.wanted)
    return hosts


def _agreed(raw: RawInventory, mistakes: Mistakes) -> dict[str, Any]:
    """The fleet's variables, which are the same on every host; the first host's word counts where they are not."""
    own = {
        host: {name: value for name, value in variables.items()
               if name.startswith("pifleet_") and name not in schema.HOST_VARIABLES}
        for host, variables in raw.hosts.items()
    }
    agreed: dict[str, Any] = {}
    for name in dict.fromkeys(name for variables in own.values() for name in variables):
        having = [host for host in own if name in own[host]]
        agreed[name] = own[having[0]][name]
        other = next((host for host in own if own[host].get(name) != agreed[name] or name not in own[host]), None)
        if other:
            mistakes.add(name, f"different values on {having[0]} and {other}", "set it once, under all.vars")
    return agreed


def _repo(name: str, repo: schema.Repo, folder: Folder) -> valid.Repo:
    where, mistakes = ("pifleet_repos", name), folder.mistakes
    auth = repo.auth or schema.Auth()
    over_http, over_ssh = repo.url.startswith("http"), repo.url.startswith("ssh:") or "@" in repo.url.split("/")[0]
    if auth.token and not over_http:
        mistakes.add(path(*where, "auth", "token"), "a token for an url that is not https", "use ssh_key with ssh")
    if auth.ssh_key and not over_ssh:
        mistakes.add(path(*where, "auth", "ssh_key"), "an ssh_key for an url that is not ssh", "use token with https")
    if over_ssh and not auth.ssh_key:
        mistakes.add(path(*where, "auth"), "no ssh_key for an ssh url", "add auth: {ssh_key: {file: PATH}}")
    if over_ssh and not repo.known_hosts:
        mistakes.add(path(*where, "known_hosts"), "nothing", "name a file with the host keys of the ssh server")
    if repo.known_hosts and not over_ssh:
        mistakes.add(path(*where, "known_hosts"), show(repo.known_hosts), "remove it; only an ssh url needs it")
    known_hosts = folder.text(repo.known_hosts, path(*where, "known_hosts")) if repo.known_hosts else ""
    return valid.Repo(name, repo.url, repo.ref, folder.secret(auth.token), folder.secret(auth.ssh_key), known_hosts)


def _model(name: str, model: schema.Model, folder: Folder) -> valid.Model:
    where, mistakes = ("pifleet_models", name), folder.mistakes
    if model.api == "scripted":
        for key in ("base_url", "key"):
            if getattr(model, key):
                mistakes.add(path(*where, key), f"a {key} for a scripted model", "remove it; a scripted model has none")
    else:
        for key, wanted in (("base_url", "name the provider's address"), ("models", "list at least one model")):
            if not getattr(model, key):
                mistakes.add(path(*where, key), "nothing", wanted)
    return valid.Model(name, model.api, model.base_url, folder.secret(model.key), tuple(model.models))


def _image(variables: schema.Variables, folder: Folder) -> Image:
    date = variables.pifleet_image_date
    ca = folder.text(variables.pifleet_image_ca, "pifleet_image_ca") if variables.pifleet_image_ca else ""
    if ca and "-----BEGIN CERTIFICATE-----" not in ca:
        folder.mistakes.add("pifleet_image_ca", show(variables.pifleet_image_ca), "name a file with PEM certificates")
    return Image(
        base=variables.pifleet_image_base, suite=variables.pifleet_image_suite,
        date=f"{date.replace('-', '')}T000000Z" if "-" in date else date,
        packages=tuple(variables.pifleet_image_packages), node_version=variables.pifleet_node_version,
        pi_version=variables.pifleet_pi_version, ca=ca,
        apt_mirror=variables.pifleet_apt_mirror, npm_registry=variables.pifleet_npm_registry,
    )


def _sandboxes(variables: schema.Variables) -> Iterator[valid.Sandbox]:
    for developer, own in variables.pifleet_developers.items():
        several = "sandboxes" in own.model_fields_set
        for name, sandbox in (own.sandboxes if several else {"main": schema.Sandbox()}).items():
            said = _nearest(variables.pifleet_defaults, own, sandbox)
            yield valid.Sandbox(
                developer, name, said.pattern, said.model,
                Limits(float(said.cpus), rules.size_in_bytes(said.memory), said.pids),
                repos=tuple(said.repos), egress=tuple(said.egress), artifacts=tuple(said.artifacts), host=said.host,
                pi_settings=own.pi.settings,
            )


def _nearest(*levels: schema.Level) -> schema.Sandbox:
    """What the levels say together: for each key the word of the last level that says anything; no list is merged."""
    said: dict[str, Any] = {}
    for level in levels:
        said |= {key: getattr(level, key) for key in level.model_fields_set & schema.Sandbox.model_fields.keys()}
    return schema.Sandbox.model_construct(**said)


@dataclass(frozen=True)
class Names:
    """Checks that everything which is meant by name exists; `repos` and `models` are the names as written."""

    repos: Mapping[str, Any]
    models: Mapping[str, Any]
    fleet: Fleet
    mistakes: Mistakes

    def check(self, variables: schema.Variables) -> None:
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
                self._resolved(place, _nearest(variables.pifleet_defaults, developer, sandbox))
            if not several:
                self._resolved(where, _nearest(variables.pifleet_defaults, developer))

    def _level(self, where: tuple[str, ...], level: schema.Level) -> None:
        """The names that are written at one level, so that a wrong default is one mistake and not forty."""
        said = level.model_fields_set
        if "pattern" in said:
            self._pattern(path(*where, "pattern"), level.pattern)
        if "model" in said and level.model not in self.models:
            self.mistakes.add(path(*where, "model"), show(level.model), choose(level.model, self.models))
        if isinstance(level, schema.Sandbox) and level.host and level.host not in self.fleet.hosts:
            self.mistakes.add(path(*where, "host"), show(level.host), choose(level.host, self.fleet.hosts))

    def _pattern(self, where: str, pattern: str) -> None:
        if pattern in LATER_PATTERNS:
            wanted = f"this version of pifleet runs pattern {listed(PATTERNS)}"
        elif pattern not in PATTERNS:
            wanted = choose(pattern, PATTERNS)
        elif self.fleet.hosts and not self.fleet.hosts_offering(pattern):
            wanted = f"no host offers it; put one into group pifleet_{pattern}"
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


def _check_unique(fleet: Fleet, variables: schema.Variables, mistakes: Mistakes) -> None:
    """Short names and numbers are made from long ones, so two can meet."""
    ids: dict[str, str] = {}
    for sandbox in fleet.sandboxes:
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
