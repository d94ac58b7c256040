"""Owns what a place of the sandbox holds now, read just as a capture reads it: a repository or a plain folder.
It must not judge what may become of it, or change it."""

from __future__ import annotations

import os
from typing import IO, Any

from pifleet.results.capture.agent import Capture
from pifleet.results.capture.framing import Answer
from pifleet.results.capture.memory import Memory, UnitMemory
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.place import Place
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
        place = self._find_below(root)
        if root not in self._repositories:
            return None
        self._repository(path, root, place)
        return self._found

    def folder(self, root: bytes) -> Seen:
        """What lies in a folder beside its repositories."""
        self._find_below(self._workspace)
        self._capture("tree", b"", b"", Repository(), self._looked("", root))
        assert self._found
        return self._found

    def _find_below(self, root: bytes) -> Place:
        self._repositories.clear()
        place = self._looked("", root)
        self._find(place)
        return place

    def _capture(self, kind: str, path: bytes, at: bytes, repository: Repository, place: Place) -> None:
        unit = Unit(place, at, repository, set(self._repositories), self._settings, UnitMemory(), Memory(),
                    self._sender, self._patterns)
        unit.capture()
        nested = sorted(other for other in self._repositories if other != place.root)
        self._found = Seen(place.root, repository, unit, nested)
