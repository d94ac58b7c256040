"""Owns repositories, models, packages and images of an inventory: each checked in itself, and made into its valid form.
It must not know who uses them."""

from __future__ import annotations

import re

from pifleet import fleet as valid
from pifleet.fleet import EngineSource, Gondolin, Image, Package
from pifleet.inventory import schema
from pifleet.inventory.folder import Folder
from pifleet.wording import path, show


def repo_of(name: str, repo: schema.Repo, folder: Folder) -> valid.Repo:
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


def model_of(name: str, model: schema.Model, folder: Folder) -> valid.Model:
    where, mistakes = ("pifleet_models", name), folder.mistakes
    if model.api == "scripted":
        for key in ("base_url", "key"):
            if getattr(model, key):
                mistakes.add(path(*where, key), f"a {key} for a scripted model", "remove it; a scripted model has none")
    else:
        for key, wanted in (("base_url", "name the provider's address"), ("models", "list at least one model")):
            if not getattr(model, key):
                mistakes.add(path(*where, key), "nothing", wanted)
    for key in ("proxy", "ca"):
        if getattr(model, key) and not model.base_url.startswith("https:"):
            mistakes.add(path(*where, key), f"a {key} for an address that is not https", "remove it, or use https")
    if model.proxy_auth and not model.proxy:
        mistakes.add(path(*where, "proxy_auth"), "a login without a proxy", "name the proxy, or remove it")
    ca = folder.certificates(model.ca, path(*where, "ca")) if model.ca else ""
    return valid.Model(name, model.api, model.base_url, folder.secret(model.key), tuple(model.models), model.proxy, ca,
                       folder.secret(model.proxy_auth))


def egress_proxy_of(variables: schema.Variables, folder: Folder) -> valid.Proxy | None:
    url, auth = variables.pifleet_egress_proxy, variables.pifleet_egress_proxy_auth
    if auth and not url:
        folder.mistakes.add("pifleet_egress_proxy_auth", "a login without a proxy",
                            "name it in pifleet_egress_proxy, or remove the login")
    if re.match(r"http://(localhost|127\.|\[::1\])", url):
        folder.mistakes.add("pifleet_egress_proxy", show(url), "use an address of its own; squid reaches no loopback")
    return valid.Proxy(url, folder.secret(auth)) if url else None


def engine_source_of(said: schema.EngineSource | None, folder: Folder) -> EngineSource | None:
    if said is None:
        return None
    where = path("pifleet_engine_source", "key")
    key = folder.text(said.key, where)
    if key and ("-----BEGIN PGP PUBLIC KEY BLOCK-----" not in key or "PRIVATE KEY" in key):
        folder.mistakes.add(where, show(said.key), "name a file with a PGP public key as text")
    return EngineSource(said.url, said.suite, tuple(said.components), key, tuple(said.packages))


def package_of(said: schema.Package, where: str, folder: Folder, endings: tuple[str, ...]) -> Package:
    """A file to install of one of these kinds; what is wrong with it is a mistake at `where`."""
    if bool(said.file) == bool(said.url) or not (said.file or said.url).endswith(endings):
        folder.mistakes.add(where, show(said.file or said.url),
                            f"use one of file and url, ending in {' or '.join(endings)}")
    elif said.file and not folder.at(said.file).is_file():
        folder.mistakes.add(f"{where}.file", show(said.file), "name a file that is there")
    return Package(said.sha256, str(folder.at(said.file)) if said.file else "", said.url)


def gondolin_of(variables: schema.Variables, folder: Folder) -> Gondolin:
    said = variables.pifleet_gondolin_guest
    return Gondolin(guest=package_of(said, "pifleet_gondolin_guest", folder, (".tar.gz",)) if said else None)


def image_of(variables: schema.Variables, folder: Folder) -> Image:
    date = variables.pifleet_image_date
    ca = folder.certificates(variables.pifleet_image_ca, "pifleet_image_ca") if variables.pifleet_image_ca else ""
    return Image(
        base=variables.pifleet_image_base, suite=variables.pifleet_image_suite,
        date=f"{date.replace('-', '')}T000000Z" if "-" in date else date,
        packages=tuple(variables.pifleet_image_packages), node_version=variables.pifleet_node_version,
        pi_version=variables.pifleet_pi_version, ca=ca,
        apt_mirror=variables.pifleet_apt_mirror, npm_registry=variables.pifleet_npm_registry,
    )
