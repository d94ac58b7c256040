"""Owns the way from an inventory's variables to the `Fleet` that a sound inventory describes.
It must not reach a host or know how variables came from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pifleet.errors import Mistakes
from pifleet.fleet import Connection, Fleet, Host
from pifleet.inventory import rules, schema
from pifleet.inventory.boxes import sandboxes
from pifleet.inventory.clusters import check_pods, cluster
from pifleet.inventory.folder import Folder
from pifleet.inventory.gondolin import check_memory
from pifleet.inventory.groups import agreed, groups
from pifleet.inventory.hostvars import connection
from pifleet.inventory.names import Names, check_unique
from pifleet.inventory.openshell import check_sandboxes, gateway, openshell
from pifleet.inventory.parts import egress_proxy_of, engine_source_of, gondolin_of, image_of, model_of, repo_of
from pifleet.inventory.shape import shape
from pifleet.secret import Secret

if TYPE_CHECKING:
    from pifleet.inventory.raw import RawInventory

# What Ansible's variables say of ssh is not for a cluster: its API is asked from this machine.
REACHED_FROM_HERE = Connection(local=True)


def fleet_from(raw: RawInventory, *, become_password: Secret | None = None) -> Fleet:
    """The fleet that the variables describe. Raises BadInput with every mistake that was found."""
    mistakes = Mistakes()
    offered = groups(raw, mistakes)
    variables = shape(agreed(raw, mistakes), mistakes)
    folder = Folder(raw.path.absolute().parent, mistakes)
    known_hosts = str(folder.at(variables.pifleet_known_hosts)) if variables.pifleet_known_hosts else ""

    def host(name: str, of_host: tuple[str, ...]) -> Host:
        own = raw.hosts[name]
        if there := cluster(name, own, of_host, variables.pifleet_fleet, folder):
            return Host(name, of_host, REACHED_FROM_HERE, cluster=there)
        reached = connection(name, own, mistakes, known_hosts=known_hosts, become_password=become_password)
        return Host(name, of_host, reached, gateway(name, own, of_host, folder))

    hosts = {name: host(name, of_host) for name, of_host in offered.items()}
    repos = {name: repo_of(name, repo, folder) for name, repo in variables.pifleet_repos.items()}
    models = {name: model_of(name, model, folder) for name, model in variables.pifleet_models.items()}
    fleet = Fleet(
        name=variables.pifleet_fleet, hosts=hosts, repos=repos, models=models, image=image_of(variables, folder),
        results=str(folder.at(variables.pifleet_results)),
        egress_proxy=egress_proxy_of(variables, folder), openshell=openshell(raw, variables.pifleet_openshell, folder),
        gondolin=gondolin_of(variables, folder),
        engine_source=engine_source_of(variables.pifleet_engine_source, folder),
        sandboxes=tuple(sandboxes(variables)), pull_limits=_pull_limits(variables.pifleet_pull_limits),
    )
    repo_names, model_names, set_names = (
        raw.variables(f"pifleet_{kind}") for kind in ("repos", "models", "egress_sets"))
    Names(repo_names, model_names, set_names, fleet, mistakes).check(variables)
    check_unique(fleet, variables, mistakes)
    check_sandboxes(fleet, mistakes)
    check_memory(fleet, mistakes)
    check_pods(fleet, mistakes)
    count = len(dict.fromkeys(mistakes.found))
    mistakes.raise_any(f"the inventory has {count} mistake{'s' if count > 1 else ''}")
    return fleet


def _pull_limits(said: schema.PullLimits) -> dict[str, int]:
    """Those that are said, in bytes, seconds and pieces."""
    values = {name: getattr(said, name) for name in schema.PullLimits.model_fields if name in said.model_fields_set}
    return {name: rules.size_in_bytes(one) if isinstance(one, str) else one for name, one in values.items()}
