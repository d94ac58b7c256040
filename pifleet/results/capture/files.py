"""Owns reading files as they are: small ones whole, big ones in blocks, each new one sent as soon as it is read.
It must not know where in a tree a file belongs, and a file that changes under our hands is read again."""

from __future__ import annotations

import hashlib
import os
from typing import IO, NamedTuple

from pifleet.results.capture.memory import Memory, UnitMemory
from pifleet.results.capture.packs import Sender, object_id
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.stats import facts_of
from pifleet.results.capture.trees import TREE, Entry, Made, tree_content

BIG = 1 << 20  # files beyond are told as blocks, unless the history holds them
BLOCK = 128 << 10
FAN = 256  # blocks in one tree
_ATTEMPTS = 3


class Read(NamedTuple):
    """What a file was when it was read; `changed` when it was never the same before and after."""

    kind: bytes
    oid: bytes
    facts: bytes
    changed: bool


class Reader:
    """Sends what neither `memory` (where it is that of home's state) nor the repository's history brings home."""

    def __init__(self, repository: Repository, old: UnitMemory, sender: Sender, memory: Memory) -> None:
        self._repository, self._old, self._sender, self._memory = repository, old, sender, memory
        self._history: set[bytes] | None = None
        self.blocks: dict[bytes, bytes] = dict(old.blocks)
        self.block_trees: Made = []
        self.sizes: dict[bytes, int] = {}

    @property
    def history(self) -> set[bytes]:
        """What home does not hold and gets with the history; asked for at the first file that is new."""
        if self._history is None:
            since = self._old.head_tree if self._memory.known else ""
            self._history = self._repository.objects(since) if self._repository.git_dir else set()
        return self._history

    def comes_home(self, oid: bytes) -> bool:
        """Whether home holds this, or gets it with the history."""
        return (self._memory.known and oid in self._memory.held) or oid in self.history

    def give(self, data: bytes) -> bytes:
        """The id of a blob, sent where home lacks it."""
        oid = object_id("blob", data)
        if not self.comes_home(oid):
            self._sender.add("blob", data, oid)
        return oid

    def link(self, full: bytes) -> bytes:
        return self.give(os.readlink(full))

    def file(self, full: bytes) -> Read:
        """Raises OSError."""
        for _ in range(_ATTEMPTS):
            descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                before = os.fstat(descriptor)
                big = before.st_size > BIG
                oid = self._content(descriptor, before.st_size)
                facts = facts_of(before)
                changed = facts_of(os.fstat(descriptor)) != facts
            finally:
                os.close(descriptor)
            if not changed:
                break
        kind = b"fF" if not before.st_mode & 0o100 else b"xX"
        # A big file of the history is a plain blob again.
        return Read(kind[1:] if big and oid in self.sizes else kind[:1], oid, facts, changed)

    def _content(self, descriptor: int, size: int) -> bytes:
        """The id of what is read there; a file that grows meanwhile is one that changes."""
        if size <= BIG:
            return self.give(os.read(descriptor, size + 1))
        with open(descriptor, "rb", 0, closefd=False) as file:
            return self._big(file, size)

    def _big(self, file: IO[bytes], size: int) -> bytes:
        """The id of the blob where that is at home or in the history, else that of the tree of its blocks."""
        if self._repository.git_dir and self.comes_home(oid := _whole(file, size)):
            return oid
        file.seek(0)
        ids: list[bytes] = []
        left = size
        while left and (data := _exactly(file, min(BLOCK, left))):
            ids.append(self.give(data))
            left -= len(data)
        tree, trees = block_tree(ids)
        self.blocks[tree], self.sizes[tree] = b"".join(ids), size - left
        self.block_trees += trees
        return tree


def block_tree(ids: list[bytes]) -> tuple[bytes, Made]:
    """The tree whose leaves in order are these blocks, and all trees of it, those inside first."""
    made: Made = []

    def tree(entries: dict[bytes, Entry]) -> bytes:
        content = tree_content(entries)
        made.append((object_id("tree", content), content))
        return made[-1][0]

    outer: dict[bytes, Entry] = {}
    for at in range(0, len(ids), FAN):
        inner: dict[bytes, Entry] = {b"%02x" % place: (0o100644, oid) for place, oid in enumerate(ids[at : at + FAN])}
        outer[b"%06x" % (at // FAN)] = (TREE, tree(inner))
    return tree(outer), made


def _whole(file: IO[bytes], size: int) -> bytes:
    digest = hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 git's own
    left = size
    while left and (data := file.read(min(BIG, left))):
        digest.update(data)
        left -= len(data)
    return digest.digest()


def _exactly(file: IO[bytes], size: int) -> bytes:
    """As many bytes as asked for, fewer at the end of the file."""
    data = file.read(size)
    while data and len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data
