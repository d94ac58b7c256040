"""Owns what the plain folder of a generation looks like, and whether it fits.
It must not know refs, receipts' contents or how anything arrived."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pifleet.results.limits import Limits, Refusal
from pifleet.results.plain.writer import Plan
from pifleet.results.store.homegit import HomeGit
from pifleet.results.store.trees import Objects
from pifleet.results.units import TREES, Unit

RECEIPT = "receipt.json"
_SPARE = 64 << 20


@dataclass(frozen=True)
class Folder:
    """The folder of one sandbox; each generation is a numbered folder in it that is never touched again."""

    path: Path
    repos: Sequence[str]
    limits: Limits

    def numbers(self) -> list[int]:
        return [int(path.name) for path in self.path.glob("*") if path.name.isdecimal()]

    def of(self, number: int) -> Path:
        return self.path / str(number)

    def scratch(self, number: int) -> Path:
        """Where a generation is written before one rename shows it; nothing is there."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = self.path / f".{number}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        return scratch

    def place(self, unit: Unit) -> bytes:
        """Where a unit lies: an expected repository under its name, all that nobody expected under `workspace`."""
        top = unit.path.split(b"/")[0].decode("latin-1")
        if unit.kind == "tree" or (top in self.repos and top not in (*TREES, RECEIPT)):
            return unit.path
        return b"workspace" if unit.path == b"." else b"workspace/" + unit.path

    def plan(self, units: Iterable[Unit], objects: Objects) -> Plan:
        """Raises Refusal: name.conflict, limit.files."""
        plan = Plan(self.limits)
        for unit in units:
            plan.add(self.place(unit), objects.leaves(f"{unit.facts['snapshot']}^{{tree}}"), objects)
        plan.disarm()
        return plan

    def weigh(self, plan: Plan, quarantine: HomeGit, home: HomeGit, received: int) -> None:
        """Raises Refusal when the plain files would be too much for the limits or for the disk."""
        blobs = plan.blobs
        distinct = set(blobs)
        sizes = {oid: size for oid, (kind, size) in quarantine.sizes(distinct).items() if kind == "blob"}
        if len(sizes) < len(distinct):
            raise Refusal("git.connectivity", "something in a tree that should be a file is none")
        if max(sizes.values(), default=0) > self.limits.file:
            raise Refusal("limit.file", f"a file of more than {self.limits.file} bytes")
        total = sum(sizes[oid] for oid in blobs)
        if total > self.limits.unpacked:
            raise Refusal("limit.unpacked", f"{total} bytes of files; at most {self.limits.unpacked} are written")
        new = sum(sizes[oid] for oid in distinct - home.sizes(distinct).keys())
        if new > max(self.limits.ratio_from, self.limits.ratio * received):
            raise Refusal("limit.unpacked", f"{new} new bytes of files out of {received} received")
        free = shutil.disk_usage(self.path.parent.parent).free
        if total + _SPARE > free:
            raise Refusal("io.space", f"{total} bytes of files are to be written and {free} bytes are free")
