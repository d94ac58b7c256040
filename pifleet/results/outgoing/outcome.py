"""Owns what a return of a generation into a sandbox says afterwards, as values and as JSON.
It must not know how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pifleet.errors import Trouble
from pifleet.results.outcome import Item

Became = Literal["restored", "equal", "refused", "failed", "not reached"]


@dataclass(frozen=True)
class UnitPut:
    """What became of one repository or tree. `files` were written.

    `reason` is why it was refused or failed. `aside` is where that is which was in its place (below the workspace).
    `fresh`: the repository was made new, so it has no configuration, hooks and remotes. `kept` are files in whose
    place something else was, with what became of them; `left` is what the generation does not hold.
    """

    name: str
    result: Became
    reason: str = ""
    files: int = 0
    aside: str = ""
    fresh: bool = False
    kept: tuple[Item, ...] = ()
    left: tuple[Item, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "result": self.result, "reason": self.reason, "files": self.files,
                "aside": self.aside or None, "fresh": self.fresh, "kept": [vars(item) for item in self.kept],
                "left": [vars(item) for item in self.left]}


@dataclass(frozen=True)
class PutBack:
    """What putting generation `generation` into a sandbox came to. `seconds` it took, `bytes` sent."""

    sandbox_id: str
    generation: int
    units: tuple[UnitPut, ...]
    seconds: float
    bytes: int
    trouble: Trouble | None = None

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is in the sandbox now."""
        return self.trouble is None and all(unit.result in ("restored", "equal") for unit in self.units)

    def as_json(self) -> dict[str, Any]:
        return {"sandbox_id": self.sandbox_id, "generation": self.generation,
                "units": [unit.as_json() for unit in self.units], "seconds": round(self.seconds, 3),
                "bytes": self.bytes, "error": self.trouble.as_json() if self.trouble else None}
