"""Owns the hunt for poison: planted secrets looked for in every place to which one could have got.
It must not know what should be found where; whoever hunts names the one place in which a secret belongs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hunting.engines import containers, in_engine, in_images
from tests.hunting.files import Hit, in_files
from tests.hunting.processes import in_memory, in_processes, of_users, processes_of
from tests.hunting.watch import Watch

__all__ = ["Ground", "Hit", "Watch", "containers", "hunt", "in_engine", "in_files", "in_images", "in_memory",
           "in_processes", "of_users", "processes_of"]

OURS = "io.pifleet.sandbox"


@dataclass(frozen=True)
class Ground:
    """Where to hunt: `folders` with all below them, `engines` as the words that speak to one (`docker`, or `docker exec
    HOST docker`) with containers, images and all processes of sandboxes, and this machine's process list.

    `images` narrows the images whose layers are read; `except_for` are the files in which a poison belongs.
    """

    folders: Sequence[Path] = ()
    engines: Sequence[Sequence[str]] = (("docker",),)
    images: Sequence[str] | None = None
    except_for: Iterable[Path] = ()


# What of a sandbox's files lies in no folder of its host.
MEMORY_DISKS = ("tmp", "dev/shm", "run")


def hunt(poison: Sequence[str], ground: Ground) -> set[Hit]:
    """Every poison with every place of `ground` in which it is."""
    there = [folder for folder in ground.folders if folder.exists()]
    hits = in_files(poison, there, except_for=ground.except_for) | in_processes(poison)
    for docker in ground.engines:
        hits |= in_engine(poison, docker) | in_images(poison, docker, ground.images)
        for container in containers(docker, OURS):
            pids = processes_of(container)
            hits |= in_memory(poison, pids) | in_files(poison, _memory_disks(pids))
    return hits


def _memory_disks(pids: Sequence[int]) -> list[Path]:
    """The memory disks of a container, as one of its processes has them."""
    roots = [Path("/proc", str(pid), "root") for pid in pids[:1]]
    return [root / name for root in roots for name in MEMORY_DISKS if (root / name).exists()]
