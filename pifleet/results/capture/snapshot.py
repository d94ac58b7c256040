"""Owns the tree of all files of a unit as they lie on the disk, found in folders in which something is new.
It must not know what is ignored for which reason, or how a file is read.
"""

from __future__ import annotations

import os
from typing import Any

from pifleet.results.capture.memory import UnitMemory
from pifleet.results.capture.packs import object_id
from pifleet.results.capture.place import Place
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.stats import MODES
from pifleet.results.capture.survey import DEPTH, Folder
from pifleet.results.capture.taking import File, Taker
from pifleet.results.capture.tool import names_git
from pifleet.results.capture.trees import TREE, Entry, Made, entries_of, nest, tree_content, write
from pifleet.results.capture.watch import Known

_LINK = 0o160000
_KINDS = {mode: kind for kind, mode in reversed(MODES.items())}


class Snapshot:
    """The folder `at` in a place; every tree that is new is added to `made`. `apart`, `old`: see unit.Unit."""

    def __init__(self, place: Place, at: bytes, repository: Repository, apart: set[bytes], old: UnitMemory,
                 taker: Taker, made: Made, *, known: bool) -> None:
        place.settle()
        self._survey, self._watch, self._at, self._root = place.survey, place.watch, at, place.survey.full(at)
        self._repository, self._apart, self._old = repository, apart, old
        self._taker, self._made, self._known = taker, made, known

    def top(self) -> Folder:
        """What the folder holds."""
        self._soil()
        return self._folder(self._at, b"", nest(self._repository.unshown.items()))

    def _place(self, rel: bytes) -> bytes:
        """A path of this unit as one of its place."""
        return b"/".join(filter(None, (self._at, rel.rstrip(b"/"))))

    def _soil(self) -> None:
        """What was looked into under other circumstances has to be looked into again."""
        have, old = self._repository, self._old
        if not self._known or not old.state:
            self._survey.soil_below(self._at)
        for path in have.ignored ^ old.ignored:
            self._survey.soil_below(self._place(path))
        changed = have.unshown.items() ^ old.unshown.items()
        self._survey.soil(self._place(path).rpartition(b"/")[0] for path, _ in changed)

    def _folder(self, path: bytes, prefix: bytes, unshown: dict[bytes, Any]) -> Folder:
        """A folder and what is its tree; what the index shows and the disk need not comes from `unshown`."""
        folder = self._survey.at(path)
        if path not in self._survey.dirty:
            return folder
        before, entries = self._before(path, prefix), {}
        new = Folder(folder.facts, folder.inner, folder.seen, folder.git)
        others = len(self._taker.notes)  # notes that are not of this folder
        full, place = self._survey.full(path), path + b"/" if path else b""
        for child in self._taker.children(full, prefix):
            rel = prefix + child.name
            if rel in self._repository.ignored or (child.name == b".git" and full == self._root in self._apart):
                continue
            if names_git(child.name):
                self._taker.note(rel, "path.git")
            elif not child.is_dir(follow_symlinks=False):
                if file := self._file(child.path, rel, place + child.name, before.get(child.name)):
                    new.files, new.bytes = new.files + 1, new.bytes + file.size
                    if file.kind in b"FX":
                        new.big.append((place + child.name, MODES[file.kind], self._taker.size_of(file), file.oid))
                    else:
                        entries[child.name] = MODES[file.kind], file.oid
            elif rel.count(b"/") >= DEPTH - 1:
                self._taker.note(rel, "path.too_deep")
            elif child.path not in self._apart:
                below = unshown.get(child.name)
                others -= len(self._taker.notes)
                inner = self._folder(place + child.name, rel + b"/", below if isinstance(below, dict) else {})
                others += len(self._taker.notes)
                new.files, new.bytes, new.big = new.files + inner.files, new.bytes + inner.bytes, new.big + inner.big
                if inner.tree:
                    entries[child.name] = (TREE, object_id("tree", inner.tree))
        self._add_unshown(entries, full, unshown)
        new.tree, new.noted = tree_content(entries), len(self._taker.notes) > others
        old = self._survey.old.get(path)
        if not prefix or (new.tree and (not self._known or old is None or old.tree != new.tree)):
            self._made.append((object_id("tree", new.tree), new.tree))
        self._survey.looked(path, new)
        return new

    def _before(self, path: bytes, prefix: bytes) -> dict[bytes, Known]:
        """The files of a folder as they were; what was not on the disk then is none of them."""
        old = self._survey.old.get(path)
        if old is None:
            return {}
        before = {name: (_KINDS[mode], oid) for name, (mode, oid) in entries_of(old.tree).items()
                  if mode in _KINDS and prefix + name not in self._old.unshown}
        for full, mode, _, oid in old.big:
            folder, _, name = full.rpartition(b"/")
            if folder == path:
                before[name] = (_KINDS[mode].upper(), oid)
        return before

    def _add_unshown(self, entries: dict[bytes, Entry], folder: bytes, unshown: dict[bytes, Any]) -> None:
        """A submodule's work is a unit of its own; a sparse checkout leaves files out on purpose."""
        for name, entry in unshown.items():
            if name in entries:
                continue
            if isinstance(entry, dict):
                entries[name] = (TREE, write(entry, self._made))
            elif entry[0] == _LINK or not os.path.lexists(os.path.join(folder, name)):
                entries[name] = entry

    def _file(self, full: bytes, rel: bytes, path: bytes, before: Known | None) -> File | None:
        """One file or link of the snapshot."""
        if (seen := self._taker.look(full, rel)) is None:
            return None
        old = self._watch.as_before(path, seen, before)
        file = self._taker.take(full, rel, seen, old)
        if file and (old is None or (file.kind, file.oid) != old or path in self._watch.old):
            self._watch.put(path, self._watch.believed(seen, file.facts), file.kind, file.oid)
        return file
