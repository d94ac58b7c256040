"""Owns the plain folder of a sandbox's newest generation: what it is to hold, whether that fits, and that it does.
It must not know refs, receipts' contents or how anything arrived."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import shown
from pifleet.results.plain.disk import FOLDER, Walk, blob_id, empty
from pifleet.results.plain.index import Index
from pifleet.results.plain.journal import Journal
from pifleet.results.plain.plan import Kept, Plan
from pifleet.results.plain.writer import Writer
from pifleet.results.store.contents import Contents, File
from pifleet.results.store.homegit import HomeGit
from pifleet.results.units import TREES, Unit

RECEIPT = "receipt.json"
_NUMBER = re.compile(rb'^ "generation": (\d{1,9}),$', re.MULTILINE)
_SPARE = 64 << 20
_BATCH = 20_000


@dataclass(frozen=True)
class Folder:
    """The folder of one sandbox, and `memory`: the file, kept apart from it, that says what in it is ours."""

    path: Path
    memory: Path
    repos: Sequence[str]
    limits: Limits

    def number(self) -> int:
        """The highest generation that this folder has heard of, which may be one that the store has lost."""
        try:
            with os.fdopen(os.open(self.path / RECEIPT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as receipt:
                found = _NUMBER.search(receipt.read(4096))
        except OSError:
            found = None
        return max(Index.load(self.memory).generation, int(found[1]) if found else 0)

    def holds(self, generation: int) -> bool:
        """Whether we brought the folder up to this generation and it was not taken away since."""
        return self._there() and Index.load(self.memory).generation == generation

    def _there(self) -> bool:
        try:
            return any(self.path.iterdir())
        except OSError:
            return False

    def place(self, unit: Unit) -> bytes:
        """Where a unit lies: an expected repository under its name, all that nobody expected under `workspace`."""
        top = unit.path.split(b"/")[0].decode("latin-1")
        if unit.kind == "tree" or (top in self.repos and top not in (*TREES, RECEIPT)):
            return unit.path
        return b"workspace" if unit.path == b"." else b"workspace/" + unit.path

    def plan(self, units: Iterable[Unit], contents: Contents) -> Plan:
        """Raises Refusal: name.conflict, limit.files."""
        plan = Plan(self.limits)
        for unit in units:
            plan.add(self.place(unit), contents.files(unit), contents)
        plan.disarm()
        return plan

    def weigh(self, plan: Plan, contents: Contents, home: HomeGit, received: int) -> None:
        """Raises Refusal when what is to be written would be too much for the limits or for the disk."""
        index = Index.load(self.memory) if self._there() else Index()
        files = index.differing(plan)
        counts = Counter(file.oid for file in files)
        distinct = iter({file.oid: file for file in files}.values())
        total = new = 0
        while batch := list(islice(distinct, _BATCH)):
            sizes = contents.sizes(batch)
            if max(sizes.values()) > self.limits.file:
                raise Refusal("limit.file", f"a file of more than {self.limits.file} bytes")
            total += sum(size * counts[oid] for oid, size in sizes.items())
            fresh = sizes.keys() - home.sizes(sizes).keys()
            new += sum(sizes[oid] for oid in fresh)
        if total > self.limits.unpacked:
            raise Refusal("limit.unpacked", f"{total} bytes of files; at most {self.limits.unpacked} are written")
        if new > max(self.limits.ratio_from, self.limits.ratio * received):
            raise Refusal("limit.unpacked", f"{new} new bytes of files out of {received} received")
        free = shutil.disk_usage(self.path.parent.parent).free
        if total + _SPARE > free:
            raise Refusal("io.space", f"{total} bytes of files are to be written and {free} bytes are free")

    def bring(self, plan: Plan, receipt: bytes, contents: Contents, generation: int) -> list[Kept]:
        """Bring the folder up to date with a generation of the store; a person's own stays, and is returned.

        Raises OSError, Refusal; then every file in it is whole, old or new, and the next attempt goes on from there.
        """
        plan.files[RECEIPT.encode()] = File(RECEIPT.encode(), 0o100644, blob_id(receipt))
        with Walk(self._opened()) as walk:
            index = Index() if empty(walk.to(b"")) else Index.load(self.memory)
            journal = Journal(self.memory.with_suffix(".journal"))
            writer = Writer(walk, plan, contents, generation, journal)
            writer.apply(index.changes(plan, journal))
            index.save(self.memory, generation, plan, writer.written, writer.asides)
            journal.end()
        return [Kept(shown(at), reason) for at, reason in sorted(writer.both.items())]

    def _opened(self) -> int:
        """A descriptor of the folder, made where it is not there; only the folder of all results may be a link."""
        descriptor = os.open(self.path.parent.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in self.path.parts[-2:]:
            outer = descriptor
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=outer)
                descriptor = os.open(part, FOLDER, dir_fd=outer)
            finally:
                os.close(outer)
        return descriptor
