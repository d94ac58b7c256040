"""Owns the proof that a store holds what its receipts say: receipts, refs, ids, and every byte that is reached.
It must not repair anything, nor believe anything that it has not read now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pifleet.results.limits import Refusal
from pifleet.results.names import shown
from pifleet.results.outcome import Item
from pifleet.results.receipt import items_of, units_of
from pifleet.results.store.contents import ALL, Contents
from pifleet.results.store.generations import Store
from pifleet.results.store.hashes import damaged
from pifleet.results.store.homegit import HomeGit
from pifleet.results.store.packs import changed
from pifleet.results.store.refs import refs_of
from pifleet.results.units import Unit

_NAMED = 20  # damaged objects of one generation; more say nothing new


@dataclass(frozen=True)
class Verdict:
    """One generation: `incomplete` is what of the sandbox never came home, `damage` what is no longer as it landed."""

    generation: int
    incomplete: tuple[Item, ...]
    damage: tuple[Item, ...]

    @property
    def word(self) -> str:
        return "damaged" if self.damage else "partial" if self.incomplete else "complete"

    def as_json(self) -> dict[str, Any]:
        return {"generation": self.generation, "result": self.word,
                "incomplete": [vars(item) for item in self.incomplete], "damage": [vars(item) for item in self.damage]}


@dataclass(frozen=True)
class Proof:
    """A store: its generations, and which of its own `files` were changed since git wrote them."""

    generations: tuple[Verdict, ...]
    files: tuple[Item, ...]
    objects: int

    @property
    def good(self) -> bool:
        return not self.files and not any(one.damage for one in self.generations)


def proof(store: Store, numbers: Sequence[int]) -> Proof:
    """Look at these generations. Raises Refusal where not even the refs of the store can be read."""
    there = store.generations()
    looks = [_Look.at(store, number, there[number]) for number in numbers]
    reached, good = _read(store, {oid for look in looks for oid in look.ids})
    sizes: dict[str, int] = {}
    for look in looks:
        look.damage += _blocks(store, look.units, sizes)
        if not good and look.ids:
            look.damage += _lost(store, look.ids)
    files = tuple(Item(name, "file.changed") for name in changed(store.folder))
    return Proof(tuple(Verdict(look.number, look.incomplete, tuple(look.damage)) for look in looks), files, reached)


@dataclass
class _Look:
    """What was found of one generation so far; `ids` is all that it starts from."""

    number: int
    incomplete: tuple[Item, ...]
    damage: list[Item]
    units: list[Unit]
    ids: set[str]

    @classmethod
    def at(cls, store: Store, number: int, commit: str) -> _Look:
        try:
            told, _ = store.receipt(commit)
            units = units_of(told)
        except (Refusal, ValueError, KeyError, TypeError) as error:
            return cls(number, (), [Item("receipt.json", f"receipt.changed: {error}")], [], set())
        damage = [] if (told["generation"], told["sandbox_id"]) == (number, store.sandbox_id) else [
            Item("receipt.json", f"receipt.other: of generation {told['generation']} of {told['sandbox_id']}")]
        found = store.refs(number)
        damage += _refs(refs_of(units), found)
        ids = {oid for unit in units for oid in unit.ids}
        return cls(number, items_of(told["incomplete"]), damage + _kinds(store.git, units), units,
                   {commit, *ids, *found.values()})


def _refs(told: dict[str, str], found: dict[str, str]) -> list[Item]:
    """Where the refs are not those that the receipt tells of."""
    words = {name: "ref.missing" if name not in found else "ref.unknown" if name not in told else "ref.moved"
             for name in sorted(told.keys() | found.keys()) if told.get(name) != found.get(name)}
    return [Item(name, word) for name, word in words.items()]


def _kinds(git: HomeGit, units: Iterable[Unit]) -> list[Item]:
    """Ids of the receipt that are no commits although they must be."""
    certain = {oid: unit for unit in units for oid in unit.certain}
    found = git.sizes(certain)
    return [Item(f"{shown(unit.path)}: {oid}", "object.kind") for oid, unit in certain.items()
            if oid in found and found[oid][0] != "commit"]


def _read(store: Store, ids: set[str]) -> tuple[int, bool]:
    """(number of objects reached, whether all of them are whole): all generations at once, as they share so much."""
    try:
        reached, missing = _reached(store.git, ids)
    except Refusal:
        return 0, False
    return len(reached), not missing and not damaged(store.git, reached)


def _lost(store: Store, ids: set[str]) -> list[Item]:
    """What of one generation is missing or damaged, since something is."""
    try:
        reached, missing = _reached(store.git, ids)
    except Refusal as refusal:
        named = damaged(store.git, sorted(ids))
        return [Item(oid, "object.damaged") for oid in named[:_NAMED]] or [
            Item("history", f"object.damaged: {refusal}")]
    return [*(Item(oid, "object.missing") for oid in missing[:_NAMED]),
            *(Item(oid, "object.damaged") for oid in damaged(store.git, reached)[:_NAMED])]


def _reached(git: HomeGit, ids: set[str]) -> tuple[list[str], list[str]]:
    """(there, missing): every object that these reach. Raises Refusal where a commit or a folder cannot be read."""
    if not ids:
        return [], []
    listed = git.run("rev-list", "--objects", "--no-object-names", "--missing=print", "--stdin",
                     data="".join(f"{oid}\n" for oid in sorted(ids)).encode()).decode().split()
    return [oid for oid in listed if oid[0] != "?"], [oid[1:] for oid in listed if oid[0] == "?"]


def _blocks(store: Store, units: Iterable[Unit], sizes: dict[str, int]) -> list[Item]:
    """Big files whose blocks do not add up to the size that they came with; `sizes` is remembered between calls."""
    wrong = []
    for unit in [unit for unit in units if unit.facts.get("blocks")]:
        try:
            with Contents(store.git, store.limits) as contents:
                big = [(file, list(contents.blobs(file))) for file in contents.files(unit, ALL) if file.blocks]
            new = {oid for _, blobs in big for oid in blobs} - sizes.keys()
            sizes |= {oid: size for oid, (_, size) in store.git.sizes(new).items()}
            wrong += [Item(f"{shown(unit.path)}/{shown(file.path)}", "blocks.size") for file, blobs in big
                      if sum(sizes.get(oid, 0) for oid in blobs) != file.size]
        except Refusal as refusal:
            wrong.append(Item(shown(unit.path), f"blocks.unreadable: {refusal}"))
    return wrong
