"""Owns one unit of work, a repository's work tree or a plain folder, told as trees: its snapshot, and what is beside.
It must not know how a folder is walked, or a file read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from pifleet.results.capture.artifacts import Patterns
from pifleet.results.capture.files import Reader
from pifleet.results.capture.framing import text_of
from pifleet.results.capture.memory import Memory, UnitMemory
from pifleet.results.capture.packs import Sender, object_id
from pifleet.results.capture.place import Place
from pifleet.results.capture.repository import Note, Repository
from pifleet.results.capture.snapshot import Snapshot
from pifleet.results.capture.stats import MODES, facts_of
from pifleet.results.capture.survey import DEPTH
from pifleet.results.capture.taking import Taker
from pifleet.results.capture.tool import names_git
from pifleet.results.capture.trees import TREE, Entry, Made, nest, write


class Unit:
    """The folder `at` in a place, or the repository whose work tree it is.

    `apart` are the folders of all repositories; `old` is what was remembered of this unit, in `memory`.
    """

    def __init__(self, place: Place, at: bytes, repository: Repository, apart: set[bytes], settings: dict[str, Any],
                 old: UnitMemory, memory: Memory, sender: Sender, patterns: Patterns) -> None:
        self._watch, self._at, self._root = place.watch, at, place.survey.full(at)
        self._repository, self._apart, self._settings = repository, apart, settings
        self._old, self._patterns = old, patterns
        self._reader = Reader(repository, old, sender, memory)
        self.notes: list[Note] = []
        self._taker = Taker(self._reader, self.notes, settings["file"], known=memory.known)
        self.files = self.bytes = 0
        self.trees: dict[str, bytes] = {}  # part -> tree
        self.made: Made = []
        self._snapshot = Snapshot(place, at, repository, apart, old, self._taker, self.made, known=memory.known)
        self.memory = UnitMemory()
        self._big: list[tuple[str, str, int, int, str]] = []  # part, path, mode, size, tree of blocks

    def capture(self) -> None:
        """Fill `trees`, `made` (every tree that was computed), `notes` and `memory`; new files are sent on the way."""
        have = self._repository
        if os.path.isdir(self._root) and not have.bare:
            top = self._snapshot.top()
            self.trees["snapshot"] = object_id("tree", top.tree)
            self.files, self.bytes = top.files, top.bytes
            self._big += [("snapshot", text_of(path[len(self._at) + 1 if self._at else 0 :]), mode, size, oid.hex())
                          for path, mode, size, oid in top.big]
        else:
            self.trees["snapshot"] = write({}, self.made)
        if have.index is not None:
            self._reader.give(b"")  # `git add -N` puts the empty blob into an index without storing it
            self.trees["index"] = write(have.index, self.made)
        self._ignored()
        self._operation()
        if self._big:
            self._blocks()
        have.read_lost()
        self.notes[:0] = have.notes
        big = {bytes.fromhex(tree) for *_, tree in self._big}
        self.memory.blocks = {tree: ids for tree, ids in self._reader.blocks.items() if tree in big}
        self.memory.trees = {oid for oid, _ in self.made}
        self.memory.loose, self.memory.head_tree = have.loose, have.head_tree
        self.memory.ignored, self.memory.unshown, self.memory.repository = have.ignored, have.unshown, have.told()

    @property
    def new_trees(self) -> Made:
        """Those of `made` that home neither holds nor gets with the history."""
        return [(oid, content) for oid, content in self.made if not self._reader.comes_home(oid)]

    def _entry(self, part: str, full: bytes, rel: bytes) -> Entry | None:
        """What a tree of another part says of one file or link; None for what cannot be in one, and for big files."""
        key = part.encode() + b"/" + rel
        if (seen := self._taker.look(full, rel)) is None:
            return None
        file = self._taker.take(full, rel, seen, self._old.get(key, facts_of(seen)))
        if file is None:
            return None
        self.memory.put(key, self._watch.believed(seen, file.facts), file.kind, file.oid)
        self.bytes += file.size
        if file.kind in b"FX":
            self._big.append((part, text_of(rel), MODES[file.kind], self._taker.size_of(file), file.oid.hex()))
            return None
        return MODES[file.kind], file.oid

    def _ignored(self) -> None:
        """Ignored files come along while they are few and small, those that an artifact pattern names always."""
        found: dict[str, list[tuple[bytes, Entry]]] = {"ignored": [], "artifacts": []}
        room, count = self._settings["ignored_bytes"], self._settings["ignored_files"]
        for top in sorted(self._repository.ignored):
            full = os.path.join(self._root, top)
            if full in self._apart:
                continue
            if any(names_git(part) for part in top.split(b"/")):
                self._taker.note(top, "path.git")
                continue
            waived = any(part in self._settings["waived"] for part in text_of(top).split("/"))
            if waived and not self._patterns.reach(full):
                self._taker.note(top, "waived")
                continue
            inside = list(self._below(full, top)) if _is_folder(full) else [(full, top)]
            wanted = [pair for pair in inside if self._patterns.match(pair[0])]
            rest = [] if waived else [pair for pair in inside if not self._patterns.match(pair[0])]
            weight = sum(os.lstat(path).st_size for path, _ in rest if os.path.lexists(path))
            if waived:
                self._taker.note(top, "waived")
            elif weight > room or len(rest) > count:
                self._taker.note(top, "ignored", weight)
                rest = []
            else:
                room, count = room - weight, count - len(rest)
            for part, pairs in (("artifacts", wanted), ("ignored", rest)):
                found[part] += [(rel, entry) for path, rel in pairs if (entry := self._entry(part, path, rel))]
        for part, entries in found.items():
            if entries:
                self.trees[part] = write(nest(entries), self.made)

    def _below(self, folder: bytes, rel: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(full path, relative path) of all below an ignored folder that is neither a folder nor another unit."""
        for child in self._taker.children(folder, rel + b"/"):
            inner = rel + b"/" + child.name
            if names_git(child.name):
                self._taker.note(inner, "path.git")
            elif not child.is_dir(follow_symlinks=False):
                yield child.path, inner
            elif inner.count(b"/") >= DEPTH - 1:
                self._taker.note(inner, "path.too_deep")
            elif child.path not in self._apart:
                yield from self._below(child.path, inner)

    def _operation(self) -> None:
        """The state files of an operation in progress and the sides of a conflict; also what LFS keeps for itself."""
        files = [(b"git/" + rel, entry) for rel, full in self._repository.state_files
                 if (entry := self._entry("operation", full, b"git/" + rel))]
        for stage, oid, path in self._repository.unmerged:
            self._reader.give(self._repository.blob(oid))
            files.append((b"stages/%d/" % stage + path, (0o100644, bytes.fromhex(oid))))
        if files:
            self.trees["operation"] = write(nest(files), self.made)

    def _blocks(self) -> None:
        listed = json.dumps(sorted(self._big)).encode()
        entries: dict[bytes, Any] = {tree.encode(): (TREE, bytes.fromhex(tree)) for *_, tree in self._big}
        self.made += self._reader.block_trees
        self.trees["blocks"] = write({**entries, b"list": (0o100644, self._reader.give(listed))}, self.made)


def _is_folder(full: bytes) -> bool:
    return os.path.isdir(full) and not os.path.islink(full)
