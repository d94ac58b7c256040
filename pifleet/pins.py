"""Owns what a fleet pins: the parts of its image and its OpenShell, with the names that follow from them.
It must not know hosts, developers or sandboxes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


def digest(*parts: str) -> str:
    """A stable hex name for the given texts; the parts cannot run into each other."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


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
    npm_version: str = "11.21.2"
    pi_version: str = "0.87.1"
    ca: str = ""
    apt_mirror: str = ""
    npm_registry: str = ""
    recipe: str = ""

    PACKAGES = (
        "bash", "ca-certificates", "fd-find", "git", "iproute2", "less", "openssh-client", "python3", "python3-pip",
        "python3-venv", "ripgrep", "tmux", "zstd",
    )

    @property
    def hash(self) -> str:
        """12 hex digits over everything that decides the content; mirrors only say where it comes from."""
        return digest(
            self.recipe, self.base, self.suite, self.date, self.node_version, self.npm_version, self.pi_version,
            self.ca, *sorted({*self.PACKAGES, *self.packages}),
        )[:12]

    @property
    def name(self) -> str:
        return f"pifleet/pi:{self.hash}"

    @property
    def openshell_name(self) -> str:
        """The same image with the layer that OpenShell's supervisor needs."""
        return f"pifleet/pi-openshell:{self.hash}"

    @property
    def gateway_name(self) -> str:
        """The same image with nginx, in which a cluster's gateway runs."""
        return f"pifleet/pi-gateway:{self.hash}"


@dataclass(frozen=True)
class Gondolin:
    """What hosts of `pifleet_gondolin` run sandboxes with, besides what the image names: Gondolin and its guest.

    `guest` is an image in the form in which Gondolin publishes its own, taken instead of one that is made.
    """

    version: str = "0.12.0"
    zig_version: str = "0.16.0"
    kernel: str = "linux-image-cloud-amd64"
    recipe: str = ""
    guest: Package | None = None

    PACKAGES = (
        "bash", "busybox-static", "ca-certificates", "curl", "fd-find", "git", "iproute2", "less", "mount", "procps",
        "python3", "python3-pip", "python3-venv", "ripgrep", "tmux",
    )

    def hash(self, image: Image) -> str:
        """12 hex digits over everything that decides the content; Node, npm, pi and the suite are the image's."""
        return digest(
            self.recipe, self.version, self.zig_version, self.kernel, image.suite, image.date, image.node_version,
            image.npm_version, image.pi_version, image.ca, *sorted({*self.PACKAGES, *image.packages}),
            *([self.guest.sha256] if self.guest else []),
        )[:12]


@dataclass(frozen=True)
class Package:
    """A file that is installed on hosts: a path on this controller or a URL, and the sha256 it must have."""

    sha256: str
    file: str = ""
    url: str = ""

    @property
    def name(self) -> str:
        """What it is called on a host: its checksum, and its kind by its own ending."""
        ending = ".deb" if (self.file or self.url).endswith(".deb") else ".tar.gz"
        return self.sha256 + ending


@dataclass(frozen=True)
class EngineSource:
    """Where hosts without an engine get one: an apt source, the text of its public key, and the packages from there."""

    url: str
    suite: str
    components: tuple[str, ...]
    key: str
    packages: tuple[str, ...]

    @property
    def text(self) -> str:
        """As a file of apt's (sources.list(5), deb822), with the key in it: an empty line in a key is a dot there."""
        key = "".join(f" {line or '.'}\n" for line in self.key.strip().splitlines())
        return (f"Types: deb\nURIs: {self.url}\nSuites: {self.suite}\nComponents: {' '.join(self.components)}\n"
                f"Signed-By:\n{key}")


@dataclass(frozen=True)
class OpenShell:
    """The OpenShell that hosts of `pifleet_openshell` get: its `version`, the packages that hold it, and the oldest
    Docker engine under which it is installed."""

    version: str = ""
    packages: tuple[Package, ...] = ()
    engine: str = "28.0.0"
