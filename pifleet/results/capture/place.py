"""Owns one place as a whole, the workspace or the session logs: its folders, its files, and what is new about both.
It must not know units or repositories.
"""

from __future__ import annotations

from pifleet.results.capture.survey import Folder, Survey
from pifleet.results.capture.watch import Watch


class PlaceMemory:
    """Its folders, the path of an index of its files, the records of those that were read since that was made."""

    def __init__(self) -> None:
        self.folders: dict[bytes, Folder] = {}
        self.index = b""
        self.records: dict[bytes, bytes] = {}


class Place:
    """`limit` is how many files there may be; `git_dir` see watch.private_git, `young` see watch.YOUNG_NS."""

    def __init__(self, root: bytes, old: PlaceMemory, git_dir: bytes, young: int, limit: int) -> None:
        self.root = root
        self.watch = Watch(root, old.index, old.records, git_dir, young)  # git works from now on
        self.survey = Survey(root, old.folders, young, limit)
        self._settled = False

    def at(self, full: bytes) -> bytes:
        """A path in this place."""
        return full[len(self.root) + 1 :]

    def settle(self) -> None:
        """Have every folder looked into that holds a file which is not as it was."""
        if not self._settled:
            self._settled = True
            self.survey.soil(self.watch.stale(self.survey))

    def renamed(self, top: bytes) -> bool:
        """Whether below a folder something came, went or has another rule of what is ignored."""
        self.settle()
        inside = top + b"/" if top else b""
        named = any(path == top or path.startswith(inside) for path in self.survey.listed)
        return named or any(path.startswith(inside) and path.endswith(b".gitignore") for path in self.watch.moved)
