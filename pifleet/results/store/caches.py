"""Owns the caches that stores borrow from: what the upstream of a repository holds, once for all sandboxes.
It must not know a sandbox. A cache never loses an object, since stores rely on it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from pifleet.results.limits import Limits
from pifleet.results.lock import held
from pifleet.results.store import packed
from pifleet.results.store.homegit import HomeGit, PackSink
from pifleet.results.store.packs import adopt, copy


def caches(stores: Path, repos: Iterable[str]) -> list[Path]:
    """Those of the bare repositories `upstream/<repository>.git` in the folder of all stores that are there."""
    return [path for name in repos if (path := _cache(stores, name)).is_dir()]


def borrow(store: Path, lenders: Iterable[Path]) -> None:
    """Let a store use the lenders' objects, wherever the folder of all stores is moved to; it keeps earlier lenders."""
    path = store / "objects" / "info" / "alternates"
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = dict.fromkeys([*before, *(f"../../upstream/{lender.name}/objects" for lender in lenders)])
    if len(lines) > len(before):
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        fresh.replace(path)


def seed(stores: Path, name: str, source: HomeGit, commits: Sequence[str], limits: Limits) -> None:
    """Have these commits of a store, and all that they reach, in the cache of repository `name`.

    Raises Refusal: busy when another pull is at it, and what a store may raise; OSError.
    """
    (stores / "upstream").mkdir(mode=0o700, exist_ok=True)
    cache = _cache(stores, name)
    with held(cache.with_suffix(".lock")):
        HomeGit.create(cache)
        git = HomeGit(cache, limits)
        there = git.sizes(commits)
        new = [oid for oid in commits if oid not in there]
        if not new:
            return
        incoming = cache / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)
        (incoming / "pack").mkdir(parents=True)
        asked = "".join([*(f"{oid}\n" for oid in new), *(f"^{oid}\n" for oid in git.tips())]).encode()
        copy(source, PackSink(HomeGit(cache, limits, incoming), limits), asked, "--revs")
        adopt(incoming / "pack", cache / "objects" / "pack")
        packed.add(cache, {f"refs/upstream/{oid}": oid for oid in new})


def _cache(stores: Path, name: str) -> Path:
    return stores / "upstream" / f"{name}.git"
