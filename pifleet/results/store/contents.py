"""Owns how the files of a unit are read from the store: plain blobs, and big files as the blocks that they came in.
It must not write anywhere, and judges no name."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pifleet.results.limits import Limits, Refusal
from pifleet.results.store.files import Files
from pifleet.results.store.homegit import HomeGit
from pifleet.results.store.row import Row
from pifleet.results.store.trees import LINK_MODE, TREE_MODE, Objects
from pifleet.results.units import Unit

LIST = "list"
_LIST_BYTES = 64 << 20
_TARGET_BYTES = 4096
_FEW = 100  # files, for which another process does not pay
# What a person looks for in a generation; `ignored` files come along too, and are only asked for by name.
SHOWN = ("snapshot", "artifacts")
ALL = (*SHOWN, "ignored")


@dataclass(frozen=True, slots=True)
class File:
    """One file or link of a unit: `path` relative to the unit, git's `mode`; equal `oid` means equal content.

    `oid` is a blob, or, where `size` (bytes) is known, the tree whose leaves in order are the blocks of the file.
    """

    path: bytes
    mode: int
    oid: str
    size: int | None = None

    @property
    def blocks(self) -> bool:
        return self.size is not None

    @property
    def link(self) -> bool:
        return self.mode == LINK_MODE


class Contents:
    """Reads the files of units out of one store (or its quarantine); a context manager over one git process.

    What just `came` is read without git, of which all else is asked.
    """

    def __init__(self, git: HomeGit, limits: Limits, came: Files | None = None) -> None:
        self._git, self._limits, self._came = git, limits, came
        self.objects = Objects(git)
        self._row: Row | None = None

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, *raised: object) -> None:
        self.objects.__exit__(*raised)

    def files(self, unit: Unit, parts: tuple[str, ...] = SHOWN, at: bytes = b"") -> Iterator[File]:
        """Every file and link of these parts of a unit, in no order; a path of two parts comes twice.

        With `at`, only what has that path or lies below it.
        """
        for part in parts:
            if commit := unit.facts.get(part):
                for path, mode, oid in self.objects.below(f"{commit}^{{tree}}", at):
                    yield File(path, mode, oid)
        if commit := unit.facts.get("blocks"):
            yield from (file for part, file in self.listed(f"{commit}^{{tree}}")
                        if part in parts and (not at or file.path == at or file.path.startswith(at + b"/")))

    def listed(self, blocks: str) -> Iterator[tuple[str, File]]:
        """(part, file) of the big files of a tree of blocks: it holds the list, and each file's blocks by their id."""
        there = {name.decode("latin-1"): (mode, oid) for mode, name, oid in self.objects.tree(blocks)[1]}
        mode, oid = there.get(LIST, (0, ""))
        listed = self.objects.blob(oid, _LIST_BYTES) if mode != TREE_MODE and oid else None
        try:
            for part, path, mode, size, tree in json.loads(listed or b"null"):
                if there[tree] != (TREE_MODE, tree) or type(size) is not int or mode not in (0o100644, 0o100755):
                    raise ValueError(tree)
                yield str(part), File(path.encode("latin-1"), mode, tree, size)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Refusal("git.connectivity", "the list of big files is not as agreed") from None

    def check(self, unit: Unit) -> None:
        """Hold every big file of a unit against its blocks. Raises Refusal git.connectivity, limit.file."""
        listed = self.listed(f"{unit.facts['blocks']}^{{tree}}") if unit.facts.get("blocks") else ()
        files = [file for _, file in islice(listed, self._limits.files + 1)]
        if len(files) > self._limits.files:
            raise Refusal("limit.files", f"more than {self._limits.files} big files")
        for file in {(file.oid, file.size): file for file in files}.values():  # the same one may be listed often
            blocks = [File(path, mode, oid) for path, mode, oid in self.objects.leaves(file.oid)]
            sizes = self.sizes(blocks)
            if sum(sizes[block.oid] for block in blocks) != file.size or any(block.link for block in blocks):
                raise Refusal("git.connectivity", "the blocks of a big file are not what its size says")
            if (file.size or 0) > self._limits.file:
                raise Refusal("limit.file", f"a file of more than {self._limits.file} bytes")

    def copy(self, file: File, descriptor: int) -> None:
        """Write a file's bytes to a descriptor. Raises Refusal git.connectivity."""
        for oid in self.blobs(file):
            self.copy_blob(oid, descriptor)

    def copy_blob(self, oid: str, descriptor: int) -> None:
        """Write a blob's bytes to a descriptor. Raises Refusal git.connectivity."""
        if (parts := self._came.read(oid) if self._came else None) is not None:
            write(parts, descriptor)
        elif not (self._row and self._row.copy(oid, descriptor)):
            self.objects.copy(oid, descriptor)

    @contextlib.contextmanager
    def ahead(self, files: Sequence[File]) -> Iterator[None]:
        """Meanwhile these, in their order, are read before they are copied. Another order or file costs time only."""
        asked = [file.oid for file in files if not (file.link or file.blocks or self._size(file.oid) is not None)]
        if len(asked) < _FEW:
            yield
            return
        with Row(self._git, asked) as self._row:
            try:
                yield
            finally:
                self._row = None

    def blobs(self, file: File) -> Iterator[str]:
        """The blobs that a file's bytes are in, in order. Raises Refusal git.connectivity."""
        if not file.blocks:
            yield file.oid
            return
        for _, mode, oid in self.objects.leaves(file.oid):
            if mode == LINK_MODE:
                raise Refusal("git.connectivity", "a block of a file is none")
            yield oid

    def read(self, file: File, limit: int) -> bytes | None:
        """The bytes of a small file, or the target of a link; None, and none of it read, beyond `limit`."""
        if not file.blocks:
            return self.objects.blob(file.oid, limit)
        if (file.size or 0) > limit:
            return None
        return b"".join(self.objects.blob(oid, limit) or b"" for _, _, oid in self.objects.leaves(file.oid))

    def target(self, file: File) -> bytes:
        """Where a link points; empty when it is too long to be one."""
        return self.objects.blob(file.oid, _TARGET_BYTES) or b""

    def sizes(self, files: Sequence[File]) -> dict[str, int]:
        """Oid -> bytes of every file that is there. Raises Refusal git.connectivity for what is no file."""
        found = {file.oid: file.size if file.blocks else self._size(file.oid) for file in files}
        wanted = [oid for oid, size in found.items() if size is None]
        asked = {oid: size for oid, (kind, size) in self.objects.sizes(wanted).items() if kind == "blob"}
        if len(asked) < len(wanted):
            raise Refusal("git.connectivity", "something in a tree that should be a file is none")
        return {oid: asked[oid] if size is None else size for oid, size in found.items()}

    def _size(self, oid: str) -> int | None:
        """Bytes of a file that just came; None for any other."""
        return self._came.size(oid) if self._came else None


def write(parts: Sequence[memoryview], descriptor: int) -> None:
    """Write all of them."""
    for part in parts:
        left = part
        while left:
            left = left[os.write(descriptor, left) :]
