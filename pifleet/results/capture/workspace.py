"""Owns where work lies: the places of a sandbox, the repositories in them, and how each of these is read.
It must not send anything, or know what becomes of what is read.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

from pifleet.results.capture.artifacts import Patterns
from pifleet.results.capture.memory import Memory, UnitMemory
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.place import Place, PlaceMemory
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.tool import git
from pifleet.results.capture.unit import Unit
from pifleet.results.capture.watch import YOUNG_NS, private_git


class Workspace:
    """`settings` are those of agent.main, `scratch` is an empty private folder, `old` what was remembered.

    `repositories` are those that were found: folder -> (git directory, whether it is bare). `apart` are these folders
    as paths in their place.
    """

    def __init__(self, settings: dict[str, Any], scratch: bytes, old: Memory) -> None:
        self.root = os.path.normpath(os.fsencode(settings["workspace"]))
        self.places: dict[str, Place] = {}
        self.repositories: dict[bytes, tuple[bytes, bool]] = {}
        self.apart: set[bytes] = set()
        self._settings, self._scratch, self._old = settings, scratch, old
        self._patterns = Patterns(self.root, settings["artifacts"])
        self._private = private_git(scratch)
        self._young = time.time_ns() - YOUNG_NS

    def place(self, name: str, root: bytes) -> Place:
        old = self._old.places.get(name, PlaceMemory())
        self.places[name] = Place(root, old, self._private, self._young, self._settings["files"])
        return self.places[name]

    def find(self, place: Place) -> None:
        """All repositories; what lies in a bare one is its own."""
        survey, bare = place.survey, b"\n"
        for path, folder in survey.folders.items():
            full = survey.full(path)
            if path.startswith(bare):
                continue
            if folder.git == b"g":
                self.repositories[full] = (os.path.join(full, b".git"), False)
            elif folder.git == b"b" and git(full, "rev-parse", "--git-dir", may_fail=True):
                self.repositories[full] = (full, True)
                bare = path + b"/"
        self.apart = {place.at(full) for full in self.repositories}
        for path in self.apart ^ self._old.apart:
            survey.soil_below(path)

    def opened(self, root: bytes, old: UnitMemory) -> Repository:
        """One of the repositories, as far as its history goes. Raises Broken."""
        git_dir, bare = self.repositories[root]
        return Repository.opened(git_dir, root, bare, old, self._young)

    def complete(self, root: bytes, repository: Repository, place: Place) -> None:
        """The rest of it. Raises Broken."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as scratch:
            repository.complete(self.root, scratch, lambda: place.renamed(place.at(root)))
        self._adopt_tracked(root, repository, place)

    def _adopt_tracked(self, root: bytes, repository: Repository, place: Place) -> None:
        """A tracked folder that looks like a bare repository (a test's data, say) is content of its tracker."""
        for folder in [folder for folder, (_, bare) in self.repositories.items() if bare]:
            if folder.startswith(root + b"/") and repository.tracked(os.path.relpath(folder, root)):
                del self.repositories[folder]
                self.apart.remove(place.at(folder))
                place.survey.soil_below(place.at(folder))

    def unit(self, place: Place, at: bytes, repository: Repository, old: UnitMemory, sender: Sender) -> Unit:
        """The work in the folder `at` of a place."""
        return Unit(place, at, repository, set(self.repositories), self._settings, old, self._old, sender,
                    self._patterns)
