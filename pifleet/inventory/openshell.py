"""Owns what an inventory says of OpenShell beyond its shape: packages, drivers, and one model for each developer.
It must not know how a gateway is installed or driven."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pifleet.errors import Mistakes
from pifleet.fleet import OPENSHELL, Fleet, OpenShell, Package
from pifleet.wording import path, show

if TYPE_CHECKING:
    from pifleet.inventory import schema
    from pifleet.inventory.folder import Folder
    from pifleet.inventory.raw import RawInventory

GROUP, EXISTING = "pifleet_openshell", "pifleet_openshell_gateways"
VARIABLE, DRIVER = "pifleet_openshell", "pifleet_openshell_driver"
ENDINGS = (".deb", ".tar.gz")
PATH_WANTED = "use one of file and url, ending in .deb or .tar.gz"


def openshell(raw: RawInventory, said: schema.OpenShell | None, folder: Folder) -> OpenShell:
    """The OpenShell of the fleet; every mistake in it is added to the folder's."""
    mistakes = folder.mistakes
    members = raw.groups.get(GROUP, ())
    for host in members:
        driver = raw.hosts[host].get(DRIVER, "docker")
        if driver != "docker":
            mistakes.add(path("hosts", host, DRIVER), show(driver),
                         "use docker; this version of pifleet does not drive podman, vm or kubernetes")
    if raw.groups.get(EXISTING):
        mistakes.add(EXISTING, "a gateway that others run",
                     f"put hosts into {GROUP}; this version of pifleet uses no gateway that it did not install")
    if said is None:
        if members and not raw.variables(VARIABLE):
            mistakes.add(VARIABLE, "nothing", "say what the hosts of this group get: {version: ..., packages: [...]}")
        return OpenShell()
    packages = []
    for number, one in enumerate(said.packages):
        if bool(one.file) == bool(one.url) or not (one.file or one.url).endswith(ENDINGS):
            mistakes.add(path(VARIABLE, "packages", number), show(one.file or one.url), PATH_WANTED)
        elif one.file and not folder.at(one.file).is_file():
            mistakes.add(path(VARIABLE, "packages", number, "file"), show(one.file), "name a file that is there")
        packages.append(Package(one.sha256, str(folder.at(one.file)) if one.file else "", one.url))
    return OpenShell(said.version, tuple(packages), said.engine)


def check_sandboxes(fleet: Fleet, mistakes: Mistakes) -> None:
    """Refuse what sandboxes of this pattern cannot have, and of others what only this one has.

    A developer's workspace has one route to one model. A gateway lets names that are listed whole lead to private
    addresses, and those that a domain covers not.
    """
    models: dict[str, str] = {}
    for box in fleet.sandboxes:
        where = ("pifleet_developers", box.developer, "sandboxes", box.name)
        shell = box.pattern == OPENSHELL
        if shell and (box.other_models or models.setdefault(box.developer, box.model) != box.model):
            mistakes.add(path(*where, "model"), show(", ".join(box.models)),
                         f"use {models.get(box.developer, box.model)}: a developer's sandboxes of pattern openshell "
                         "share one model")
        if shell and (wide := [one for one in box.egress if one.private and one.name.startswith(".")]):
            mistakes.add(path(*where, "egress"), show(", ".join(f"{one.name}:{one.port}" for one in wide)),
                         "name each host: pattern openshell lets no whole domain lead to private addresses")
        if not shell and (cloned := [one for one in box.egress if one.clone]):
            mistakes.add(path(*where, "egress"), show(", ".join(f"{one.name}:{one.port}" for one in cloned)),
                         f"leave out clone: true, or use pattern openshell: {box.pattern} does not tell a clone from "
                         "a push")
