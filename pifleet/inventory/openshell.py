"""Owns what an inventory says of OpenShell beyond its shape: packages, drivers, and one model for each developer.
It must not know how a gateway is installed or driven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pifleet.errors import Mistakes
from pifleet.fleet import OPENSHELL, Fleet, Gateway, Model, OpenShell, Sandbox
from pifleet.inventory.parts import package_of
from pifleet.inventory.rules import Text
from pifleet.secret import SecretSource
from pifleet.wording import path, show

if TYPE_CHECKING:
    from pifleet.inventory import schema
    from pifleet.inventory.folder import Folder
    from pifleet.inventory.raw import RawInventory

GROUP, EXISTING = "pifleet_openshell", "pifleet_openshell_gateways"
VARIABLE, DRIVER = "pifleet_openshell", "pifleet_openshell_driver"
URL, TLS, IMAGE = "pifleet_gateway_url", "pifleet_gateway_tls", "pifleet_gateway_image"
NONE = Model("", "")
FILES = {"ca", "cert", "key"}
TLS_WANTED = "name the three files of a client of this gateway: {ca: PATH, cert: PATH, key: PATH}"
CERTIFICATE_WANTED = "name a file with the client's certificate, as PEM"
ADDRESS = Text(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?|http://(?:127\.0\.0\.1|localhost|\[::1\]):[0-9]{1,5}",
               "use https://HOST:PORT, or http://127.0.0.1:PORT where the host itself reaches it so")
REFERENCE = Text(r"[a-z0-9][a-zA-Z0-9._/:@-]*:[a-zA-Z0-9._-]+", "use the whole name of an image, such as HOST/NAME:TAG")
ENDINGS = (".deb", ".tar.gz")


def openshell(raw: RawInventory, said: schema.OpenShell | None, folder: Folder) -> OpenShell:
    """The OpenShell of the fleet; every mistake in it is added to the folder's."""
    mistakes = folder.mistakes
    members = raw.groups.get(GROUP, ())
    for host in members:
        driver = raw.hosts[host].get(DRIVER, "docker")
        if driver != "docker":
            mistakes.add(path("hosts", host, DRIVER), show(driver),
                         "use docker; this version of pifleet does not drive podman, vm or kubernetes")
    for host in raw.groups.get(EXISTING, ()):
        if host in members:
            mistakes.add(path("hosts", host), f"in {GROUP} and in {EXISTING}", "leave it in one of them")
    if said is None:
        if (members or raw.groups.get(EXISTING)) and not raw.variables(VARIABLE):
            mistakes.add(VARIABLE, "nothing", "say what the hosts of this group get: {version: ..., packages: [...]}")
        return OpenShell()
    packages = []
    for number, one in enumerate(said.packages):
        packages.append(package_of(one, path(VARIABLE, "packages", number), folder, ENDINGS))
    return OpenShell(said.version, tuple(packages), said.engine)


def gateway(host: str, variables: Mapping[str, Any], groups: Sequence[str], folder: Folder) -> Gateway | None:
    """The gateway of others that a host reaches, where it is in their group; every mistake is added to the folder's."""
    mistakes = folder.mistakes
    if EXISTING not in groups:
        for name in (URL, TLS, IMAGE):
            if name in variables:
                mistakes.add(path("hosts", host, name), "a gateway of others",
                             f"put {host} into {EXISTING}, or remove it")
        return None
    url, tls, image = variables.get(URL, ""), variables.get(TLS), variables.get(IMAGE, "")
    if not ADDRESS.allows(url):
        mistakes.add(path("hosts", host, URL), show(url) if url else "nothing", ADDRESS.wanted)
        return None
    if image and not REFERENCE.allows(image):
        mistakes.add(path("hosts", host, IMAGE), show(image), REFERENCE.wanted)
    if url.startswith("http:"):
        if tls:
            mistakes.add(path("hosts", host, TLS), "certificates for an address without TLS",
                         "remove them, or use https")
        return Gateway(url, str(image))
    if not isinstance(tls, Mapping) or set(tls) != FILES or not all(isinstance(name, str) for name in tls.values()):
        mistakes.add(path("hosts", host, TLS), "nothing" if tls is None else "something else", TLS_WANTED)
        return None
    ca, certificate = (folder.certificates(tls[name], path("hosts", host, TLS, name)) for name in ("ca", "cert"))
    until = _end_of(certificate)
    if certificate and not until:
        mistakes.add(path("hosts", host, TLS, "cert"), show(tls["cert"]), CERTIFICATE_WANTED)
    return Gateway(url, str(image), ca, certificate, until, SecretSource("file", str(folder.at(tls["key"]))))


def _end_of(certificate: str) -> int:
    """When a certificate ends, 0 where the text is none."""
    from cryptography import x509

    try:
        return int(x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp())
    except ValueError:
        return 0


def _may_be_elsewhere(fleet: Fleet, box: Sandbox) -> bool:
    """Whether a sandbox may be on a gateway that others run."""
    hosts = (box.host,) if box.host else fleet.hosts_offering(OPENSHELL)
    return any(fleet.hosts[host].gateway for host in hosts if host in fleet.hosts)


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
        if shell and fleet.models.get(box.model, NONE).scripted and _may_be_elsewhere(fleet, box):
            mistakes.add(path(*where, "model"), show(box.model),
                         "use a model with an address: scripts are played on hosts where pifleet runs the gateway")
        if not shell and (cloned := [one for one in box.egress if one.clone]):
            mistakes.add(path(*where, "egress"), show(", ".join(f"{one.name}:{one.port}" for one in cloned)),
                         f"leave out clone: true, or use pattern openshell: {box.pattern} does not tell a clone from "
                         "a push")
