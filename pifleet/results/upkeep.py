"""Owns the upkeep of one sandbox's store as a person asks for it: the proof that it is whole, and forgetting the old.
It must not know how either is done."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pifleet.errors import PifleetError
from pifleet.results.choosing import explained, require
from pifleet.results.limits import Limits, Refusal
from pifleet.results.store.generations import Store
from pifleet.results.store.prune import Dated, Rule, dated, let_go, spared
from pifleet.results.store.verify import Proof, proof


def verify(results: Path, sandbox_id: str, title: str, number: int | None = None, *,
           limits: Limits | None = None) -> Proof:
    """Read everything that generation `number`, or every one, reaches. Raises BadInput where there is none of it,
    PifleetError where not even the refs of the store can be read."""
    store = Store(results, sandbox_id, limits or Limits())
    with explained(store, title):
        there = store.generations()
        if number is not None:
            require(title, there, number)
        return proof(store, list(there) if number is None else [number])


def aged(results: Path, sandbox_id: str, title: str, rule: Rule, today: date) -> list[tuple[Dated, bool]]:
    """Every generation, oldest first, and whether the rule spares it. Raises PifleetError when the store is damaged."""
    store = Store(results, sandbox_id, Limits())
    with explained(store, title):
        there = dated(store)
    keep = spared(there, rule, today)
    return [(one, one.number in keep) for one in there]


def forget(results: Path, sandbox_id: str, title: str, numbers: list[int]) -> int:
    """Remove these generations; returns the bytes that this freed. Raises PifleetError; then some may be gone."""
    try:
        return let_go(Store(results, sandbox_id, Limits()), numbers)
    except Refusal as refusal:
        wait = "wait until that pull has ended" if refusal.code == "busy" else f"pifleet results verify {title}"
        raise PifleetError(f"{title}: generations could not be removed", saw=f"{refusal.code}: {refusal}",
                           try_=wait) from None
