"""Owns what a place of the sandbox holds now, read just as a capture reads it: a repository or a plain folder.
It must not judge what may become of it, or change it."""

from __future__ import annotations

import os
from typing import IO, Any

from pifleet.results.capture.framing import Answer
from pifleet.results.capture.memory import Memory, UnitMemory
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.place import Place
from pifleet.results.capture.repository import Note, Repository
from pifleet.results.capture.tool import Broken, Fatal
from pifleet.results.capture.unit import Unit
from pifleet.results.capture.workspace import Workspace
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


class Look:
    """Reads one place at a time; `settings` and `scratch` are those of a capture."""

    def __init__(self, settings: dict[str, Any], answer: Answer, replies: IO[bytes], scratch: bytes) -> None:
        self._workspace = Workspace(settings, scratch, Memory())
        self._sender = _Silent(answer, replies, known=False)

    @property
    def workspace(self) -> bytes:
        return self._workspace.root

    @property
    def repositories(self) -> list[bytes]:
        """The folders of those that the last look saw."""
        return sorted(self._workspace.repositories)

    def repository(self, path: bytes) -> Seen | None:
        """The repository in this place of the workspace; None where there is none."""
        root = os.path.normpath(os.path.join(self.workspace, path))
        place = self._find_below(root)
        if root not in self._workspace.repositories:
            return None
        try:
            repository = self._workspace.opened(root, UnitMemory())
            self._workspace.complete(root, repository, place)
            return self._seen(repository, place)
        except Fatal:
            raise
        except Broken as error:
            return self._seen(Repository.unreadable(error), place)

    def folder(self, root: bytes) -> Seen:
        """What lies in a folder beside its repositories."""
        self._find_below(self.workspace)
        return self._seen(Repository(), self._workspace.place("", root))

    def _find_below(self, root: bytes) -> Place:
        self._workspace.repositories.clear()
        place = self._workspace.place("", root)
        self._workspace.find(place)
        return place

    def _seen(self, repository: Repository, place: Place) -> Seen:
        unit = self._workspace.unit(place, b"", repository, UnitMemory(), self._sender)
        unit.capture()
        nested = sorted(other for other in self._workspace.repositories if other != place.root)
        return Seen(place.root, repository, unit, nested)
