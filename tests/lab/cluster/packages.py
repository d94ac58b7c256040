"""The container runtime of a node, as Debian packages that are unpacked and never installed.

Owns which packages these are; must not know how their programs are configured.
"""

import shutil
from pathlib import Path

from tests.lab import engine
from tests.lab.engine import CACHE, CannotCarry, LabError, run

# Unpacked only: an installed containerd would be a service of this machine's, and Docker's.
UNPACKED = ("containerd", "runc", "containernetworking-plugins", "busybox-static")
INSTALLED = {"nft": "nftables", "ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}


def runtime() -> Path:
    """The folder below which the packages' files lie, as `usr/bin/containerd`; raises CannotCarry without a mirror."""
    folder = CACHE / "cluster" / "runtime"
    with engine.locked(CACHE / "cluster-runtime.lock"):
        if not folder.exists():
            unpack(folder)
    return folder


def unpack(folder: Path) -> None:
    partial, downloads = folder.with_suffix(".part"), folder.with_suffix(".debs")
    for stale in (partial, downloads):
        shutil.rmtree(stale, ignore_errors=True)
        stale.mkdir(parents=True)
    try:
        run(["apt-get", "-q", "update"])
        run(["apt-get", "-q", "download", *UNPACKED], cwd=downloads)
        for archive in sorted(downloads.glob("*.deb")):
            run(["dpkg-deb", "-x", archive, partial])
    except (LabError, FileNotFoundError) as error:
        raise CannotCarry(f"a node needs the packages {', '.join(UNPACKED)}: {error}") from error
    shutil.rmtree(downloads)
    partial.rename(folder)


def path(folder: Path) -> list[str]:
    """Where the programs of the unpacked packages lie, for PATH."""
    return [str(folder / place) for place in ("usr/bin", "usr/sbin", "bin")]
