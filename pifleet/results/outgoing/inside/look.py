"""Owns what a place of the sandbox holds now, read just as a capture reads it: a repository or a plain folder.
It must not judge what may become of it, or change it."""

from __future__ import annotations

import os
from typing import IO, Any

from pifleet.results.capture.agent import Capture
from pifleet.results.capture.framing import Answer
from pifleet.results.capture.memory import UnitMemory
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.repository import Note, Repository
from pifleet.results.capture.unit import Unit
from pifleet.results.outgoing.inside.history import reaches


class Seen:
    """One repository or plain folder: `trees` part -> id, `nested` the folders of the repositories inside it."""

    def __init__(self, root: bytes, repository: Repository, unit: Unit, nested: list[bytes]) -> None:
        self.root, self.repository, self.nested = root, repository, nested
        self.trees = {part: tree.hex() for part, tree in unit.trees.items()}
        self.notes: list[Note] = unit.notes

    @property
    def commits(self) -> set[str]:
        """All that it names."""
        have = self.repository
        return {have.head, *have.refs.values(), *have.tips, *have.stashes} - {""}

    def equals(self, told: dict[str, Any]) -> bool:
        """Whether nothing is to be done to make it what home tells: the same but for commits that it has besides."""
        have = self.repository
        same = (have.head, have.head_ref, have.refs, have.stashes, self.trees) == (
            told["head"], told["head_ref"], told["refs"], told["stashes"], told["trees"])
        return same and have.bare == told["bare"] and reaches(have.git_dir, self.commits, told["tips"])


class _Silent(Sender):
    """Sends nothing."""

    def add(self, kind: str, data: bytes, oid: bytes) -> None:
        pass


class Look(Capture):
    """Reads one place at a time; `settings` and `scratch` are those of a capture."""

    def __init__(self, settings: dict[str, Any], answer: Answer, replies: IO[bytes], scratch: bytes) -> None:
        super().__init__(settings, "", answer, replies, scratch)
        self._sender = _Silent(answer, replies, known=False)
        self._found: Seen | None = None

    @property
    def workspace(self) -> bytes:
        return self._workspace

    @property
    def repositories(self) -> list[bytes]:
        """The folders of those that the last look saw."""
        return sorted(self._repositories)

    def repository(self, path: bytes) -> Seen | None:
        """The repository in this place of the workspace; None where there is none."""
        root = os.path.normpath(os.path.join(self._workspace, path))
        self._find_below(root)
        if root not in self._repositories:
            return None
        self._repository(path, root)
        return self._found

    def folder(self, root: bytes) -> Seen:
        """What lies in a folder beside its repositories."""
        self._find_below(self._workspace)
        self._capture("tree", b"", root, Repository())
        assert self._found
        return self._found

    def _find_below(self, root: bytes) -> None:
        self._repositories.clear()
        self._seen = 0
        self._find(root, 0)

    def _capture(self, kind: str, path: bytes, root: bytes, repository: Repository) -> None:
        unit = Unit(root, repository, set(self._repositories), self._settings, UnitMemory(), self._sender,
                    self._patterns, known=False)
        unit.capture()
        self._found = Seen(root, repository, unit, sorted(other for other in self._repositories if other != root))
