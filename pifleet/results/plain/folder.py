"""Owns the plain folder of a sandbox's newest generation: what it is to hold, whether that fits, and that it does.
It must not know refs, receipts' contents or how anything arrived."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import shown
from pifleet.results.plain.disk import FOLDER, Walk, blob_id, empty
from pifleet.results.plain.index import Index
from pifleet.results.plain.journal import Journal
from pifleet.results.plain.layers import Layer
from pifleet.results.plain.plan import Kept
from pifleet.results.plain.update import Shape, Update, batches
from pifleet.results.plain.writer import Writer
from pifleet.results.store.contents import SHOWN, Contents, File
from pifleet.results.store.homegit import HomeGit
from pifleet.results.units import TREES, Unit

RECEIPT = "receipt.json"
_NUMBER = re.compile(rb'^ "generation": (\d{1,9}),$', re.MULTILINE)
_SPARE = 64 << 20


@dataclass(frozen=True)
class Folder:
    """The folder of one sandbox, and `memory`: the file, kept apart from it, that says what in it is ours."""

    path: Path
    memory: Path
    repos: Sequence[str]
    limits: Limits

    @classmethod
    def of(cls, results: Path, sandbox: str, sandbox_id: str, repos: Sequence[str], limits: Limits) -> Folder:
        """That of a sandbox, by "developer/name", in the folder of all results."""
        return cls(results.joinpath(*sandbox.split("/")), results / ".store" / f"{sandbox_id}.folder", repos, limits)

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

    def plan(self, units: Iterable[Unit], contents: Contents) -> Update:
        """What the folder is to hold, and how that differs from what it holds.

        Raises Refusal: name.conflict, limit.files.
        """
        layers = [layer for unit in units for layer in self._layers(unit, contents)]
        return self._update(self._index(), layers, contents)

    def _index(self) -> Index:
        """What we remember, where there is still something that it can be about."""
        return Index.load(self.memory) if self._there() else Index()

    def _layers(self, unit: Unit, contents: Contents) -> Iterator[Layer]:
        for part in (*SHOWN, "blocks"):
            if commit := unit.facts.get(part):
                kind: Literal["blocks", "tree"] = "blocks" if part == "blocks" else "tree"
                yield Layer(self.place(unit), kind, contents.objects.tree_id(commit))

    def _update(self, index: Index, layers: Sequence[Layer], contents: Contents) -> Update:
        near = index.near(self._journal())
        try:
            return Update(index.shape, layers, contents, self.limits, near)
        except Refusal:  # what the folder holds may be in the store no more; if it is not that, it is raised again
            return Update(Shape(), layers, contents, self.limits, near)

    def _journal(self) -> Journal:
        return Journal(self.memory.with_suffix(".journal"))

    def weigh(self, update: Update, contents: Contents, home: HomeGit, received: int) -> None:
        """Raises Refusal when what is to be written would be too much for the limits or for the disk."""
        total = update.bytes
        if total > self.limits.unpacked:
            raise Refusal("limit.unpacked", f"{total} bytes of files; at most {self.limits.unpacked} are written")
        allowed = max(self.limits.ratio_from, self.limits.ratio * received)
        new = _new(update.changed, contents, home) if total > allowed else 0
        if new > allowed:
            raise Refusal("limit.unpacked", f"{new} new bytes of files out of {received} received")
        free = shutil.disk_usage(self.path.parent.parent).free
        if total + _SPARE > free:
            raise Refusal("io.space", f"{total} bytes of files are to be written and {free} bytes are free")

    def bring(self, update: Update, receipt: bytes, contents: Contents, generation: int) -> list[Kept]:
        """Bring the folder up to date with a generation of the store; a person's own stays, and is returned.

        Raises OSError, Refusal; then every file in it is whole, old or new, and the next attempt goes on from there.
        """
        with Walk(self._opened()) as walk:
            index, journal = Index() if empty(walk.to(b"")) else Index.load(self.memory), self._journal()
            if not index.shape.layers and update.before.layers:  # emptied by somebody just now
                update = self._update(index, update.after.layers, contents)
            update.complete(RECEIPT.encode(), blob_id(receipt), contents)
            writer = Writer(walk, update, contents, generation, journal)
            changes = index.changes(update, journal)
            writer.apply(changes)
            index.after(generation, update.after, changes, writer.written, writer.asides).save(self.memory)
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


def _new(files: Sequence[File], contents: Contents, home: HomeGit) -> int:
    """Bytes of those that home has not."""
    total = 0
    for batch in batches(list({file.oid: file for file in files}.values())):
        sizes = contents.sizes(batch)
        total += sum(sizes[oid] for oid in sizes.keys() - home.sizes(sizes).keys())
    return total
