"""Owns what a plain folder is to hold, decided as a whole before anything is written: which files, which are kept back.
It must not touch a disk, and knows no refs, generations or receipts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import link_problem, path_problem, shown
from pifleet.results.store.contents import Contents, File


@dataclass(frozen=True)
class Kept:
    """An entry that stays in the store and is not written: its path and the reason."""

    path: str
    reason: str


class Plan:
    """Every file of one folder-to-be, by path. Raises Refusal name.conflict as soon as two entries cannot both be."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.kept: list[Kept] = []
        self.files: dict[bytes, File] = {}
        self._folders: set[bytes] = set()

    def __contains__(self, path: bytes) -> bool:
        """Whether a file or a folder of this path is to be there."""
        return path in self.files or path in self._folders

    def below(self, folder: bytes) -> list[File]:
        return sorted((file for path, file in self.files.items() if path.startswith(folder + b"/")), key=by_folder)

    def add(self, folder: bytes, files: Iterable[File], contents: Contents) -> None:
        """The files of one unit, in `folder`; what has a dangerous name or points out of the unit is kept back."""
        before = folder + b"/" if folder else b""
        for file in files:
            if len(self.files) + len(self.kept) >= self._limits.files:
                raise Refusal("limit.files", f"more than {self._limits.files} files")
            reason = path_problem(file.path, self._limits)
            if file.link and not reason:
                reason = link_problem(file.path, contents.target(file))
            if reason:
                self.kept.append(Kept(shown(before + file.path), reason))
            else:
                self._claim(File(before + file.path, file.mode, file.oid, file.size))

    def _claim(self, file: File) -> None:
        """A file may come twice, as part of the work and as an artifact, but then it is the same."""
        folder = file.path.rpartition(b"/")[0]
        while folder and folder not in self._folders:
            if folder in self.files:
                raise Refusal("name.conflict", f"{shown(folder)} is both a file and a folder", shown(file.path))
            self._folders.add(folder)
            folder = folder.rpartition(b"/")[0]
        if file.path in self._folders or self.files.setdefault(file.path, file) != file:
            raise Refusal("name.conflict", f"{shown(file.path)} is there twice", shown(file.path))

    def disarm(self) -> None:
        """Leave out the HEAD of every folder that git would take for a repository, obeying its configuration."""
        marks: dict[bytes, set[bytes]] = {}
        for path in (*self.files, *self._folders):
            folder, _, name = path.rpartition(b"/")
            if name.lower() in (b"objects", b"refs", b"commondir"):
                marks.setdefault(folder, set()).add(name.lower())
        armed = {folder for folder, names in marks.items() if b"commondir" in names or len(names) == 2}
        for path in [path for path in self.files if path.rpartition(b"/")[2].lower() == b"head"] if armed else ():
            if path.rpartition(b"/")[0] in armed:
                del self.files[path]
                self.kept.append(Kept(shown(path), "path.repository"))


def by_folder(file: File) -> list[bytes]:
    """The order in which each folder is come by only once."""
    return file.path.split(b"/")
