"""Owns what a fleet is once it has been validated, and every name, label, number and path that follows from it.
It must not read a file, reach a host or know how the inventory was written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pifleet.secret import Secret, SecretSource

DOCKER = "docker"
PATTERNS_OF_GROUP = {"pifleet_docker": DOCKER}

ROOT = PurePosixPath("/var/lib/pifleet")
ETC = PurePosixPath("/etc/pifleet")
PROGRAMS = PurePosixPath("/usr/local/lib/pifleet")
LOGS = PurePosixPath("/var/log/pifleet")
LABEL = "io.pifleet."
SERVICE_USER = "_pifleet"

NAME_LIMIT = 19
# 0x70000000 up to the largest signed 32-bit number is left alone by distributions and systemd
# (systemd's "Users, Groups, UIDs and GIDs" table), so a number made from the name is free on every host.
FIRST_UID = 1_900_000_000
SERVICE_UID = FIRST_UID - 1
UID_COUNT = 200_000_000


def digest(*parts: str) -> str:
    """A stable hex name for the given texts; the parts cannot run into each other."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Limits:
    """What one sandbox may use: `memory` in bytes, `cpus` in cores, `pids` in processes."""

    cpus: float = 2.0
    memory: int = 2 << 30
    pids: int = 512


@dataclass(frozen=True)
class Model:
    """How pi reaches a model. `api` is pi's own word for it, or "scripted"; `base_url` is empty for "scripted"."""

    name: str
    api: str
    base_url: str = ""
    key: SecretSource | None = None
    models: tuple[str, ...] = ()

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
class Host:
    """A machine of the fleet and the patterns it offers; `groups` are the pifleet groups it is in."""

    name: str
    groups: tuple[str, ...]
    connection: Connection = Connection()

    @property
    def patterns(self) -> frozenset[str]:
        return frozenset(PATTERNS_OF_GROUP[group] for group in self.groups if group in PATTERNS_OF_GROUP)


@dataclass(frozen=True)
class Sandbox:
    """One pi of one developer; `host` is the inventory's pin, or empty where placement decides."""

    developer: str
    name: str
    pattern: str
    model: str
    limits: Limits
    repos: tuple[str, ...] = ()
    egress: tuple[Any, ...] = ()
    artifacts: tuple[str, ...] = ()
    host: str = ""
    pi_settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def title(self) -> str:
        """What users type and read: `ana/main`."""
        return f"{self.developer}/{self.name}"

    @property
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
    def root(self) -> PurePosixPath:
        return sandbox_root(self.id)

    @property
    def model_socket(self) -> PurePosixPath:
        return self.root / "net" / "model.sock"


@dataclass(frozen=True)
class Image:
    """What the fleet's sandbox image is made from; equal inputs give an equal name.

    `ca` is PEM text that the image shall trust besides its distribution's own; `base` is "debian" or a registry
    reference with digest.
    """

    base: str = "debian"
    suite: str = "bookworm"
    date: str = ""
    packages: tuple[str, ...] = ()
    node_version: str = "24.21.0"
    pi_version: str = "0.87.1"
    ca: str = ""
    apt_mirror: str = ""
    npm_registry: str = ""
    recipe: str = ""

    PACKAGES = (
        "bash", "ca-certificates", "fd-find", "git", "less", "openssh-client", "python3", "ripgrep", "tmux", "zstd",
    )

    @property
    def hash(self) -> str:
        """12 hex digits over everything that decides the content; mirrors only say where it comes from."""
        return digest(
            self.recipe, self.base, self.suite, self.date, self.node_version, self.pi_version, self.ca,
            *sorted({*self.PACKAGES, *self.packages}),
        )[:12]

    @property
    def name(self) -> str:
        return f"pifleet/pi:{self.hash}"


@dataclass(frozen=True)
class Fleet:
    """Everything the inventory says, valid and with defaults filled in. Mappings are by name, in inventory order."""

    name: str
    hosts: Mapping[str, Host]
    sandboxes: tuple[Sandbox, ...]
    repos: Mapping[str, Repo] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    image: Image = Image()
    results: str = "results"

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


def gecos(fleet: str) -> str:
    """The comment by which an account is known to be ours; a colon would end the field in passwd(5)."""
    return f"pifleet/{fleet}"


def sandbox_root(sandbox_id: str) -> PurePosixPath:
    """Where everything of one sandbox lies on its host."""
    return ROOT / "sandboxes" / sandbox_id
