"""Owns one unit of work, a repository's work tree or a plain folder: walked, hashed byte for byte, told as trees.
It must not trust an index's idea of what is unchanged, follow a link, or apply a filter."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Iterator
from typing import Any

from pifleet.results.capture.artifacts import Patterns
from pifleet.results.capture.files import Reader
from pifleet.results.capture.framing import text_of
from pifleet.results.capture.memory import UnitMemory, facts_of, size_in
from pifleet.results.capture.packs import Sender, object_id
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.tool import bad_gitmodules, names_git, names_gitmodules
from pifleet.results.capture.trees import TREE, Entry, Made, nest, tree_content, write

DEPTH = 128
MODES = {b"l": 0o120000, b"f": 0o100644, b"x": 0o100755, b"F": 0o100644, b"X": 0o100755}
# A file system's clock may be this coarse: what is younger is read again next time.
_YOUNG_NS = 2_000_000_000
Big = tuple[str, str, int, int, str]  # part, path, mode, size, tree of blocks


class Unit:
    """`apart` are the folders of all repositories; `old` is what was remembered of this unit."""

    def __init__(self, root: bytes, repository: Repository, apart: set[bytes], settings: dict[str, Any],
                 old: UnitMemory, sender: Sender, patterns: Patterns, *, known: bool) -> None:
        self._root, self._repository, self._apart, self._settings = root, repository, apart, settings
        self._old, self._patterns = old, patterns
        self._reader = Reader(repository, old, sender, known=known)
        self._young = time.time_ns() - _YOUNG_NS
        self.notes = list(repository.notes)
        self.files = self.bytes = 0
        self.trees: dict[str, bytes] = {}  # part -> tree
        self.made: Made = []
        self.memory = UnitMemory()
        self._big: list[Big] = []

    def capture(self) -> None:
        """Fill `trees`, `made` (every tree that was computed), `notes` and `memory`; new files are sent on the way."""
        have = self._repository
        walked = os.path.isdir(self._root) and not have.bare
        self.trees["snapshot"] = self._folder(self._root, b"", have.unshown) if walked else write({}, self.made)
        self.files = len(self.memory.files)
        if have.index is not None:
            self._reader.give(b"")  # `git add -N` puts the empty blob into an index without storing it
            self.trees["index"] = write(have.index, self.made)
        self._ignored()
        self._operation()
        if self._big:
            self._blocks()
        self.memory.blocks = {tree: ids for tree, ids in self._reader.blocks.items() if tree in self._big_trees()}
        self.memory.trees = {oid for oid, _ in self.made}
        self.memory.loose = self._repository.loose

    @property
    def new_trees(self) -> Made:
        """Those of `made` that home neither holds nor gets with the history."""
        return [(oid, content) for oid, content in self.made if not self._reader.tree_comes_home(oid)]

    def _big_trees(self) -> set[bytes]:
        return {bytes.fromhex(tree) for *_, tree in self._big}

    def _note(self, path: bytes, reason: str, size: int = 0) -> None:
        self.notes.append((path, reason, size))

    def _folder(self, folder: bytes, prefix: bytes, unshown: dict[bytes, Any]) -> bytes:
        """The id of a folder's tree; what the index shows and the disk need not comes from `unshown`."""
        entries: dict[bytes, Entry] = {}
        for child in self._children(folder, prefix):
            rel = prefix + child.name
            if rel in self._repository.ignored or (child.name == b".git" and folder == self._root in self._apart):
                continue
            if names_git(child.name):
                self._note(rel, "path.git")
            elif not child.is_dir(follow_symlinks=False):
                if entry := self._entry("snapshot", child.path, rel):
                    entries[child.name] = entry
            elif rel.count(b"/") >= DEPTH - 1:
                self._note(rel, "path.too_deep")
            elif child.path not in self._apart:
                inner = unshown.get(child.name)
                tree = self._folder(child.path, rel + b"/", inner if isinstance(inner, dict) else {})
                if self.made[-1][1]:
                    entries[child.name] = (TREE, tree)
                else:
                    self.made.pop()
        self._add_unshown(entries, folder, unshown)
        content = tree_content(entries)
        self.made.append((object_id("tree", content), content))
        return self.made[-1][0]

    def _add_unshown(self, entries: dict[bytes, Entry], folder: bytes, unshown: dict[bytes, Any]) -> None:
        """A submodule's work is a unit of its own; a sparse checkout leaves files out on purpose."""
        for name, entry in unshown.items():
            if name in entries:
                continue
            if isinstance(entry, dict):
                entries[name] = (TREE, write(entry, self.made))
            elif entry[0] == 0o160000 or not os.path.lexists(os.path.join(folder, name)):
                entries[name] = entry

    def _children(self, folder: bytes, prefix: bytes) -> list[os.DirEntry[bytes]]:
        try:
            children = list(os.scandir(folder))
        except OSError as error:
            self._note(prefix[:-1], why(error))
            return []
        if not children and prefix:
            self._note(prefix[:-1], "empty")
        return sorted(children, key=lambda child: child.name)

    def _entry(self, part: str, full: bytes, rel: bytes) -> Entry | None:
        """What a tree says of one file or link; None, with a note, for what cannot be in one, and for big files."""
        key = part.encode() + b"/" + rel
        try:
            seen = os.lstat(full)
            facts = facts_of(seen)
            old = self._old.get(key, facts)
            if old and old[0] in _kinds(seen) and self._reader.comes_home(old[1]):
                kind, oid = old
            elif stat.S_ISLNK(seen.st_mode) and not names_gitmodules(rel):
                kind, oid = b"l", self._reader.link(full)
            elif names_gitmodules(rel) and (not stat.S_ISREG(seen.st_mode) or bad_gitmodules(full)):
                self._note(rel, "path.git", seen.st_size)
                return None
            elif stat.S_ISREG(seen.st_mode) and seen.st_size <= self._settings["file"]:
                read = self._reader.file(full)
                kind, oid, facts = read.kind, read.oid, read.facts
                if read.changed:
                    self._note(rel, "changed", seen.st_size)
                    facts = b"\0" * len(facts)
            else:
                self._note(rel, "limit.file" if stat.S_ISREG(seen.st_mode) else "special", seen.st_size)
                return None
        except OSError as error:
            self._note(rel, why(error))
            return None
        young = max(seen.st_mtime_ns, seen.st_ctime_ns) > self._young
        self.memory.put(key, b"\0" * len(facts) if young else facts, kind, oid)
        size = seen.st_size if facts.strip(b"\0") == b"" else size_in(facts)
        self.bytes += size
        if kind in b"FX":
            self._big.append((part, text_of(rel), MODES[kind], self._reader.sizes.get(oid, size), oid.hex()))
            return None
        return MODES[kind], oid

    def _ignored(self) -> None:
        """Ignored files come along while they are few and small, those that an artifact pattern names always."""
        found: dict[str, list[tuple[bytes, Entry]]] = {"ignored": [], "artifacts": []}
        room, count = self._settings["ignored_bytes"], self._settings["ignored_files"]
        for top in sorted(self._repository.ignored):
            full = os.path.join(self._root, top)
            if full in self._apart:
                continue
            if any(names_git(part) for part in top.split(b"/")):
                self._note(top, "path.git")
                continue
            waived = any(part in self._settings["waived"] for part in text_of(top).split("/"))
            if waived and not self._patterns.reach(full):
                self._note(top, "waived")
                continue
            inside = list(self._below(full, top)) if _is_folder(full) else [(full, top)]
            wanted = [pair for pair in inside if self._patterns.match(pair[0])]
            rest = [] if waived else [pair for pair in inside if not self._patterns.match(pair[0])]
            weight = sum(os.lstat(path).st_size for path, _ in rest if os.path.lexists(path))
            if waived:
                self._note(top, "waived")
            elif weight > room or len(rest) > count:
                self._note(top, "ignored", weight)
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
        for child in self._children(folder, rel + b"/"):
            inner = rel + b"/" + child.name
            if names_git(child.name):
                self._note(inner, "path.git")
            elif not child.is_dir(follow_symlinks=False):
                yield child.path, inner
            elif inner.count(b"/") >= DEPTH - 1:
                self._note(inner, "path.too_deep")
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
        entries: dict[bytes, Any] = {tree.hex().encode(): (TREE, tree) for tree in self._big_trees()}
        self.made += self._reader.block_trees
        self.trees["blocks"] = write({**entries, b"list": (0o100644, self._reader.give(listed))}, self.made)


def why(error: OSError) -> str:
    return {errno.EACCES: "capture.denied", errno.EPERM: "capture.denied", errno.ENAMETOOLONG: "path.too_long"}.get(
        error.errno or 0, "changed")


def _kinds(seen: os.stat_result) -> bytes:
    """The kinds that a file of this type and mode may have been remembered as."""
    if stat.S_ISLNK(seen.st_mode):
        return b"l"
    if not stat.S_ISREG(seen.st_mode):
        return b""
    return b"xX" if seen.st_mode & 0o100 else b"fF"


def _is_folder(full: bytes) -> bool:
    return os.path.isdir(full) and not os.path.islink(full)
