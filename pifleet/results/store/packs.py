"""Owns packs as files of a store: how they move in, how many of them become one, whether each is as it was written.
It must not know generations; an object that is there stays there at every moment, whatever is killed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pifleet.results.capture.framing import SECTION
from pifleet.results.limits import Limits, Refusal
from pifleet.results.store.homegit import HomeGit, PackSink, check

MANY = 40
_MOST = 8  # times as many, whatever their size
_CHUNK = 1 << 20
_TRAILER = 20
_WINDOW = 10


def adopt(source: Path, target: Path) -> None:
    """Move the whole packs of a folder into another of the same file system, the index of each last, for good."""
    packs = [path for path in source.glob("*") if not path.name.startswith("tmp_")]
    for path in sorted(packs, key=lambda path: path.suffix == ".idx"):
        path.chmod(0o444)
        path.rename(target / path.name)
    settle(target)


def copy(source: HomeGit, sink: PackSink, asked: bytes, *options: str) -> None:
    """Send what `git pack-objects` makes of `asked` into a quarantine. Raises Refusal."""
    try:
        for data in packed(source, asked, *options):
            sink.write(data)
        sink.finish()
    finally:
        sink.abort()


def packed(source: HomeGit, asked: bytes, *options: str) -> Iterator[bytes]:
    """The bytes of the pack that `git pack-objects` makes of `asked`. Raises Refusal."""
    argv = ("pack-objects", "--stdout", "-q", "--delta-base-offset", *options)
    with tempfile.TemporaryFile() as errors, source.start(*argv, errors=errors) as packer:
        assert packer.stdin
        assert packer.stdout
        packer.stdin.write(asked)
        packer.stdin.close()
        while data := packer.stdout.read(_CHUNK):
            yield data
        check(packer.wait(), errors, "git.connectivity")


def crowded(folder: Path) -> bool:
    """Whether a store has so many packs that looking through all of them costs.

    One large pull brings dozens of whole sections, and to copy these at once would cost more than looking through them.
    """
    sizes = [path.stat().st_size for path in (folder / "objects" / "pack").glob("*.pack")]
    return sum(size < SECTION // 2 for size in sizes) > MANY or len(sizes) > _MOST * MANY


def consolidate(git: HomeGit, folder: Path, limits: Limits) -> None:
    """Make two packs, of files and of all else, of the many small ones and the loose objects of the store `folder`.

    What is copied stays deflated and keeps its differences. Raises Refusal, OSError; then every object is where it was.
    """
    packs = folder / "objects" / "pack"
    for path in packs.glob("tmp_*"):
        path.unlink()
    old = _small(packs, limits.pack // 4)
    oids = dict.fromkeys([*(oid for pack in old for oid in _listed(git, pack)), *_loose(folder / "objects")])
    kinds = git.sizes(oids)
    if len(kinds) < len(oids):
        raise Refusal("store.damaged", "a pack lists an object that cannot be read")
    # Only folders and commits are worth a search for differences: they are many, small and alike, while a file that
    # changes arrives as differences or as blocks already.
    made = _write(git, packs, [oid for oid, (kind, _) in kinds.items() if kind == "blob"], limits, window=0)
    made |= _write(git, packs, [oid for oid, (kind, _) in kinds.items() if kind != "blob"], limits, window=_WINDOW)
    settle(packs)
    for index in old:
        if index.stem not in made:
            index.unlink()  # first, because without it git sees no pack
            for path in packs.glob(f"{index.stem}.*"):
                path.unlink()
    git.run("prune-packed", "-q")


def rolled(sizes: list[int]) -> int:
    """How many of the packs, smallest first, become one: half of what is too many, and more while the next one is not
    twice as large as all before it, so that an object is copied again only as often as what is around it doubles."""
    take = min(len(sizes), MANY // 2)
    while take < len(sizes) and sizes[take] < 2 * sum(sizes[:take]):
        take += 1
    return take


def changed(folder: Path) -> list[str]:
    """Names of the pack files of a store that are not, bit for bit, what git wrote: each ends with its own SHA-1."""
    files = sorted(path for path in (folder / "objects" / "pack").glob("pack-*") if path.suffix in (".pack", ".idx"))
    return [path.name for path in files if not _whole(path)]


def size(folder: Path) -> int:
    """Bytes of all objects of a store."""
    return sum(path.stat().st_size for path in (folder / "objects").rglob("*") if path.is_file())


def _small(packs: Path, limit: int) -> list[Path]:
    """The indexes of those packs that are to become one; none of them has more than `limit` bytes."""
    known = sorted((path.with_suffix(".pack").stat().st_size, path) for path in packs.glob("*.idx"))
    small = [(size, path) for size, path in known if size <= limit]
    return [path for _, path in small[: rolled([size for size, _ in small])]]


def _write(git: HomeGit, packs: Path, oids: list[str], limits: Limits, *, window: int) -> set[str]:
    """The names of the packs that now hold these objects."""
    if not oids:
        return set()
    argv = ("-c", "pack.threads=1", "pack-objects", "-q", "--delta-base-offset", f"--window={window}",
            f"--max-pack-size={limits.pack}", str(packs / "pack"))
    written = git.run(*argv, data="".join(f"{oid}\n" for oid in oids).encode())
    return {f"pack-{name}" for name in written.decode().split()}


def _listed(git: HomeGit, pack: Path) -> list[str]:
    """Ids of a pack's objects in the order in which they lie."""
    lines = [line.split()[:2] for line in git.run("show-index", data=pack.read_bytes()).decode().splitlines()]
    return [oid for _, oid in sorted((int(offset), oid) for offset, oid in lines)]


def _loose(objects: Path) -> Iterator[str]:
    for folder in objects.glob("[0-9a-f][0-9a-f]"):
        yield from (folder.name + path.name for path in folder.iterdir() if len(path.name) == 38)


def settle(folder: Path) -> None:
    """Let the names in a folder outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole(path: Path) -> bool:
    digest, last = hashlib.sha1(), b""  # noqa: S324 git's own
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            data, last = (last + data)[:-_TRAILER], (last + data)[-_TRAILER:]
            digest.update(data)
    return digest.digest() == last
