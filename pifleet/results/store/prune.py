"""Owns letting go of old generations: which of them a rule spares, and how the others leave the store.
It must not ask anybody, and whatever it is told, the newest generation and the newest complete one stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pifleet.results.lock import held
from pifleet.results.store.generations import Store
from pifleet.results.store.packs import size


@dataclass(frozen=True)
class Rule:
    """The newest `last` generations stay, and the newest of each of the last `daily` days (UTC, today included)."""

    last: int = 10
    daily: int = 30


@dataclass(frozen=True, order=True)
class Dated:
    """A generation as the rule sees it; `created` as its receipt tells it."""

    number: int
    created: str
    complete: bool

    @property
    def day(self) -> date:
        return datetime.fromisoformat(self.created).date()


def spared(generations: Iterable[Dated], rule: Rule, today: date) -> set[int]:
    """The numbers that stay."""
    newest_first = sorted(generations, reverse=True)
    keep = {one.number for one in newest_first[: max(1, rule.last)]}
    keep |= {one.number for one in [one for one in newest_first if one.complete][:1]}
    days: dict[date, int] = {}
    for one in newest_first:
        days.setdefault(one.day, one.number)
    first = today - timedelta(days=rule.daily - 1)
    return keep | {number for day, number in days.items() if day >= first}


def dated(store: Store) -> list[Dated]:
    """Every generation, oldest first. Raises Refusal when the store is damaged."""
    return [Dated(told["generation"], told["created"], told["complete"]) for told in store.receipts()]


def let_go(store: Store, numbers: Sequence[int]) -> int:
    """Remove these generations and what only they held; returns the bytes that this freed.

    The refs that make them generations go first and all at once: a crash after that leaves remains that the next pull
    removes. Raises Refusal: busy while a pull of the sandbox runs, and what a damaged store or a full disk gives.
    """
    with held(store.folder.with_suffix(".lock"), "gc"):
        before = size(store.folder)
        store.forget(numbers)
        # Nothing is compressed anew, and what the store borrows from a cache is not copied.
        store.git.run("-c", "pack.window=0", "-c", "pack.threads=1", "repack", "-a", "-d", "-l", "-q",
                      f"--max-pack-size={store.limits.pack}")
        store.git.run("prune", "--expire=now")
        return before - size(store.folder)
