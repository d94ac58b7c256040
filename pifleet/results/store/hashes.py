"""Owns reading objects back and hashing them again: the only proof that a store still holds what its ids name.
It must not know what an object is part of."""

from __future__ import annotations

from collections.abc import Sequence

from pifleet.results.limits import Refusal
from pifleet.results.store.homegit import HomeGit
from pifleet.results.store.trees import Objects


def damaged(git: HomeGit, oids: Sequence[str]) -> list[str]:
    """Those that are missing, cannot be read, or are not what their ids say.

    git may die of a damaged object, or of its own limits; only what it dies of as the first thing it is asked for is
    damaged.
    """
    found: list[str] = []
    at = 0
    while at < len(oids):
        first = at
        with Objects(git) as objects:
            try:
                while at < len(oids):
                    if not objects.whole(oids[at]):
                        found.append(oids[at])
                    at += 1
            except Refusal:
                if at == first:
                    found.append(oids[at])
                    at += 1
    return found
