"""Owns looking at what landed in the quarantine: what a unit announced is there, is whole, and is no bomb.
It must not believe an announcement, nor make anything visible."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from contextlib import AbstractContextManager

from pifleet.results.limits import Refusal
from pifleet.results.names import shown
from pifleet.results.store.contents import Contents
from pifleet.results.store.generations import Store
from pifleet.results.store.homegit import Facts, HomeGit
from pifleet.results.store.measure import Measure, Measured, Sizes
from pifleet.results.units import Unit


def look(store: Store, units: Sequence[Unit], contents: Contents) -> Sizes:
    """Look at what landed: every id is there and of its kind, no tree is a bomb, big files are whole.

    Returns what is to be remembered when it is in the store. What that has already was looked at when it came.
    Raises Refusal: git.connectivity, limit.paths, limit.depth, limit.file.
    """
    wanted = {oid for unit in units for oid in unit.ids}
    found, known = contents.objects.sizes(wanted), store.git.sizes(wanted)
    with _measured(store) as measured:
        measure = Measure(contents.objects, store.limits, measured)
        _check(units, found, known, contents, measure)
    return measure.new


def _check(units: Sequence[Unit], found: Facts, known: Container[str], contents: Contents,
           measure: Measure) -> None:
    for unit in units:
        branches = {oid for name, oid in unit.refs.items() if name.startswith(("refs/heads/", "refs/stash"))}
        commits = unit.certain | branches
        bad = sorted(oid for oid in unit.ids if oid not in found or (oid in commits and found[oid][0] != "commit"))
        if bad:
            raise Refusal("git.connectivity", f"{shown(unit.path)} announced {bad[0]}, which did not arrive as such")
        for oid in sorted(unit.ids):
            if oid not in known and found[oid][0] in ("commit", "tree"):
                measure.check(oid)
        if unit.facts.get("blocks", "") not in known:
            contents.check(unit)


def remember(store: Store, sizes: Sizes) -> None:
    with _measured(store) as measured:
        measured.keep(sizes)


def _measured(store: Store) -> Measured:
    return Measured(store.folder / "measured")


def connected(git: HomeGit, units: Iterable[Unit]) -> AbstractContextManager[None]:
    """Meanwhile everything that the units reach is looked for. Raises Refusal in the end: git.connectivity, git.limit.

    To be begun when they were looked at: git's own walk dies on a tree nested 100,000 deep.
    """
    wanted = sorted({oid for unit in units for oid in unit.ids})
    return git.beside("rev-list", "--objects", "--quiet", "--stdin", "--not", "--all", "--alternate-refs",
                      data="".join(f"{oid}\n" for oid in wanted).encode())
