"""Owns what a fleet is once it has been validated, and every name, label, number and path that follows from it.
It must not read a file, reach a host or know how the inventory was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Any

from pifleet.egress import Destination
from pifleet.pins import EngineSource, Gondolin, Image, OpenShell, Package, digest
from pifleet.secret import Secret, SecretSource

__all__ = ["EngineSource", "Gondolin", "Image", "OpenShell", "Package", "digest"]

DOCKER = "docker"
GONDOLIN = "gondolin"
OPENSHELL = "openshell"
POD = "pod"
PATTERNS_OF_GROUP = {"pifleet_docker": DOCKER, "pifleet_gondolin": GONDOLIN, "pifleet_openshell": OPENSHELL,
                     "pifleet_openshell_gateways": OPENSHELL, "pifleet_clusters": POD}

ROOT = PurePosixPath("/var/lib/pifleet")
ETC = PurePosixPath("/etc/pifleet")
PROGRAMS = PurePosixPath("/usr/local/lib/pifleet")
LOGS = PurePosixPath("/var/log/pifleet")
RUN = PurePosixPath("/run/pifleet")
LABEL = "io.pifleet."
# Kubernetes wants the domain the other way round (docs: "Labels and Selectors", syntax).
KUBE_LABEL = "pifleet.io/"
OWN_NAMESPACE = "pifleet"
# The account of a cluster by which a developer reaches their own sandboxes, in each developer's namespace.
DEVELOPER_ACCOUNT = "developer"
SERVICE_USER = "_pifleet"
# Who listens on the sandboxes' egress sockets, and whom it hands on to; the kernel tells them apart by number.
EGRESS_USER = "_pifleet-egress"
PROXY_USER = "_pifleet-proxy"

NAME_LIMIT = 19
# 0x70000000 up to the largest signed 32-bit number is left alone by distributions and systemd
# (systemd's "Users, Groups, UIDs and GIDs" table), so a number made from the name is free on every host.
FIRST_UID = 1_900_000_000
SERVICE_UID = FIRST_UID - 1
EGRESS_UID = FIRST_UID - 2
PROXY_UID = FIRST_UID - 3
UID_COUNT = 200_000_000


@dataclass(frozen=True)
class Limits:
    """What one sandbox may use: `memory` in bytes, `cpus` in cores, `pids` in processes, requests to its models."""

    cpus: float = 2.0
    memory: int = 2 << 30
    pids: int = 512
    requests_at_once: int = 16
    requests_per_minute: int = 300


@dataclass(frozen=True)
class Model:
    """How pi reaches a model. `api` is pi's own word for it, or "scripted"; `base_url` is empty for "scripted".

    `proxy` is an http proxy on the way, as URL, and `proxy_auth` the USER:PASSWORD that it wants; `ca` the PEM text of
    the only authorities trusted for it, or empty.
    """

    name: str
    api: str
    base_url: str = ""
    key: SecretSource | None = None
    models: tuple[str, ...] = ()
    proxy: str = ""
    ca: str = ""
    proxy_auth: SecretSource | None = None

    @property
    def scripted(self) -> bool:
        return self.api == "scripted"

    @property
    def wire_api(self) -> str:
        """The API that pi speaks to the gateway; the scripted model speaks Anthropic's."""
        return "anthropic-messages" if self.scripted else self.api

    @property
    def model_ids(self) -> tuple[str, ...]:
        return self.models or ("scripted-1",)


@dataclass(frozen=True)
class Repo:
    """A git repository that sandboxes get: `token` for https, `ssh_key` (a private key's text) for ssh, or neither."""

    name: str
    url: str
    ref: str
    token: SecretSource | None = None
    ssh_key: SecretSource | None = None
    known_hosts: str = ""


@dataclass(frozen=True)
class Connection:
    """How a host is reached. An empty text or None means Ansible's own default for it."""

    address: str = ""
    port: int | None = None
    user: str = ""
    key_file: str = ""
    password: Secret | None = None
    become_password: Secret | None = None
    proxy_jump: str = ""
    proxy_command: str = ""
    known_hosts: str = ""
    local: bool = False
    # Debian's and Ubuntu's own: the one that knows apt, whatever else stands first on the PATH.
    python: str = "/usr/bin/python3"


@dataclass(frozen=True)
class Gateway:
    """An OpenShell gateway that others run: its `url`, the `image` that it makes sandboxes from (empty: the fleet's
    own), and what its client knows it by, PEM texts and the source of the key; none on plain loopback. The client's
    certificate ends at `until` (seconds since 1970)."""

    url: str
    image: str = ""
    ca: str = ""
    certificate: str = ""
    until: int = 0
    key: SecretSource | None = None


@dataclass(frozen=True)
class Cluster:
    """A Kubernetes cluster as a host. An empty text is the cluster's own default, or the client's.

    `kubeconfig` is a file on the controller; `prefix` begins the name of each namespace; `storage` is in bytes for each
    workspace. `image` and `gateway_image` are what nodes pull, by digest; empty: the fleet's own names, preloaded. With
    `user_namespaces` no user in a pod is one of its node.
    """

    prefix: str
    context: str = ""
    kubeconfig: str = ""
    storage_class: str = ""
    storage: int = 10 << 30
    runtime_class: str = ""
    priority_class: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict, hash=False)
    tolerations: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    image: str = ""
    gateway_image: str = ""
    user_namespaces: bool = False

    @property
    def own_namespace(self) -> str:
        """Where pifleet's own things are: the gateway, and the only place with keys."""
        return f"{self.prefix}-{OWN_NAMESPACE}"

    def namespace_of(self, developer: str) -> str:
        """The namespace in which all of a developer's sandboxes are, and nobody else's."""
        return f"{self.prefix}-{developer_label(developer)}"


@dataclass(frozen=True)
class Host:
    """A machine of the fleet and the patterns it offers; `groups` are the pifleet groups it is in.

    Where `gateway` is somebody else's, the machine only reaches it. With a `cluster` it is no machine at all.
    """

    name: str
    groups: tuple[str, ...]
    connection: Connection = Connection()
    gateway: Gateway | None = None
    cluster: Cluster | None = None

    @property
    def patterns(self) -> frozenset[str]:
        return frozenset(PATTERNS_OF_GROUP[group] for group in self.groups if group in PATTERNS_OF_GROUP)


@dataclass(frozen=True)
class Sandbox:
    """One pi of one developer; `host` is the inventory's pin, or empty where placement decides.

    `model` is what pi starts with; `other_models` may be chosen besides.
    It reaches `egress`, and what its host's own clients of `egress_sets` (pip, npm, apt) are configured for.
    """

    developer: str
    name: str
    pattern: str
    model: str
    limits: Limits
    repos: tuple[str, ...] = ()
    egress: tuple[Destination, ...] = ()
    egress_sets: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    host: str = ""
    pi_settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    other_models: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model, *self.other_models)

    @property
    def title(self) -> str:
        """What users type and read: `ana/main`."""
        return f"{self.developer}/{self.name}"

    @cached_property
    def id(self) -> str:
        """A DNS label of at most 19 characters, readable, hashed where two titles could meet in one."""
        plain = f"{self.developer}-{self.name}"
        if len(plain) <= NAME_LIMIT and "-" not in self.developer + self.name:
            return plain
        return f"{plain[: NAME_LIMIT - 7].rstrip('-')}-{digest(self.title)[:6]}"

    @property
    def user(self) -> str:
        return developer_user(self.developer)

    @property
    def uid(self) -> int:
        return developer_uid(self.developer)

    @property
    def container(self) -> str:
        return f"pi-{self.id}"

    @property
    def pod(self) -> str:
        """The only pod of the sandbox's StatefulSet, which is named like a container."""
        return f"{self.container}-0"

    @property
    def workspace(self) -> str:
        return workspace(self.developer)

    @property
    def root(self) -> PurePosixPath:
        return sandbox_root(self.id)

    @property
    def model_socket(self) -> PurePosixPath:
        return self.root / "net" / "model.sock"

    @property
    def egress_socket(self) -> PurePosixPath:
        # The agent of pattern gondolin has one socket of the host, and its machine the other.
        return self.root / ("out" if self.pattern == GONDOLIN else "net") / "egress.sock"

    @property
    def egress_address(self) -> str:
        """The loopback address from which this sandbox, and no other, reaches the egress proxy: 127.1.0.0 and above."""
        number = int(digest("egress", self.title)[:12], 16) % (254 << 16)
        return str(IPv4Address((127 << 24) + (1 << 16) + number))


@dataclass(frozen=True)
class Proxy:
    """An http proxy on the hosts' way out, as URL, and the USER:PASSWORD that it wants."""

    url: str
    auth: SecretSource | None = None


@dataclass(frozen=True)
class Fleet:
    """Everything the inventory says, valid and with defaults filled in. Mappings are by name, in inventory order."""

    name: str
    hosts: Mapping[str, Host]
    sandboxes: tuple[Sandbox, ...]
    repos: Mapping[str, Repo] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    image: Image = field(default_factory=Image)
    egress_proxy: Proxy | None = None
    results: str = "results"
    gondolin: Gondolin = field(default_factory=Gondolin)
    openshell: OpenShell = field(default_factory=OpenShell)
    engine_source: EngineSource | None = None
    # By the names of pifleet/results/limits.py; what is not named there has its default.
    pull_limits: Mapping[str, int] = field(default_factory=dict)

    def sandbox(self, title: str) -> Sandbox | None:
        """The sandbox that a user means by `DEV` (the only one, or `main`) or `DEV/SANDBOX`; None if there is none."""
        developer, _, name = title.partition("/")
        own = [sandbox for sandbox in self.sandboxes if sandbox.developer == developer]
        if not name and len(own) == 1:
            return own[0]
        return next((sandbox for sandbox in own if sandbox.name == (name or "main")), None)

    def hosts_offering(self, pattern: str) -> tuple[str, ...]:
        return tuple(name for name, host in self.hosts.items() if pattern in host.patterns)


def developer_user(developer: str) -> str:
    """The unix account of a developer on every host that runs one of their sandboxes."""
    return f"pi-{developer}"


def developer_uid(developer: str) -> int:
    """The account's uid and gid, the same on every host, so that work can move between hosts."""
    return FIRST_UID + int(digest("uid", developer)[:12], 16) % UID_COUNT


def workspace(developer: str) -> str:
    """The OpenShell workspace of a developer: a DNS label of at most 19 characters without a double hyphen."""
    plain = f"pi-{developer}"
    if "--" not in plain and not plain.endswith("-"):
        return plain
    return f"pi-{digest('workspace', developer)[:12]}"


def developer_label(developer: str) -> str:
    """A developer in the names and labels of a cluster's objects: a DNS label that is not pifleet's own."""
    if developer != OWN_NAMESPACE and not developer.endswith("-"):
        return developer
    return f"{developer.rstrip('-')[: NAME_LIMIT - 7].rstrip('-')}-{digest('developer', developer)[:6]}"


def gecos(fleet: str) -> str:
    """The comment by which an account is known to be ours; a colon would end the field in passwd(5)."""
    return f"pifleet/{fleet}"


def sandbox_root(sandbox_id: str) -> PurePosixPath:
    """Where everything of one sandbox lies on its host."""
    return ROOT / "sandboxes" / sandbox_id
