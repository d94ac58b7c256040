"""Owns the list of what earlier pulls of a sandbox brought home, told from its store alone.
It must not know how a pull works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pifleet.errors import PifleetError
from pifleet.results import receipt
from pifleet.results.limits import Limits, Refusal
from pifleet.results.outcome import Generation
from pifleet.results.plain.folder import Folder
from pifleet.results.store.generations import Store


def list_generations(store: Path, sandbox_id: str) -> list[Generation]:
    """Every generation of a sandbox, oldest first. Raises PifleetError when the store is damaged."""
    kept = Store(store, sandbox_id, Limits())
    try:
        receipts = list(kept.receipts())
    except Refusal as refusal:
        raise PifleetError(f"the store of {sandbox_id} is damaged", saw=str(refusal), where=str(kept.folder)) from None
    return [_generation(told, _path_of(store, sandbox_id, told) if told is receipts[-1] else None) for told in receipts]


def _generation(told: dict[str, Any], path: Path | None) -> Generation:
    return Generation(told["generation"], told["created"], told["complete"], told["sandbox"], receipt.repos_of(told),
                      receipt.items_of(told["incomplete"]), path)


def _path_of(store: Path, sandbox_id: str, told: dict[str, Any]) -> Path | None:
    """The plain folder, where it is that of this receipt."""
    folder = Folder.of(store, told["sandbox"], sandbox_id, (), Limits())
    return folder.path if folder.holds(told["generation"]) else None
