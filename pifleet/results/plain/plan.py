"""Owns which files may be plain files, and what a folder holds of those that it is given one by one.
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


def reason_against(path: bytes, file: File, contents: Contents, limits: Limits) -> str:
    """Why an entry, `path` in its unit, stays in the store: a dangerous name, a link out of the unit; "" for no reason.
    """
    reason = path_problem(path, limits)
    if file.link and not reason:
        reason = link_problem(path, contents.target(file))
    return reason


def armed(names: Iterable[bytes]) -> bool:
    """Whether git would take a folder with these names, and a HEAD, for a repository, and obey its configuration."""
    lower = {name.lower() for name in names}
    return b"commondir" in lower or {b"objects", b"refs"} <= lower


def too_many(limits: Limits) -> Refusal:
    return Refusal("limit.files", f"more than {limits.files} files")


def twice(path: bytes) -> Refusal:
    return Refusal("name.conflict", f"{shown(path)} is there twice", shown(path))


def both(folder: bytes, path: bytes) -> Refusal:
    return Refusal("name.conflict", f"{shown(folder)} is both a file and a folder", shown(path))


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

    def add(self, folder: bytes, files: Iterable[File], contents: Contents) -> None:
        """The files of one unit, in `folder`; what has a dangerous name or points out of the unit is kept back."""
        before = folder + b"/" if folder else b""
        for file in files:
            if len(self.files) + len(self.kept) >= self._limits.files:
                raise too_many(self._limits)
            if reason := reason_against(file.path, file, contents, self._limits):
                self.kept.append(Kept(shown(before + file.path), reason))
            else:
                self._claim(File(before + file.path, file.mode, file.oid, file.size))

    def _claim(self, file: File) -> None:
        """A file may come twice, as part of the work and as an artifact, but then it is the same."""
        folder = file.path.rpartition(b"/")[0]
        while folder and folder not in self._folders:
            if folder in self.files:
                raise both(folder, file.path)
            self._folders.add(folder)
            folder = folder.rpartition(b"/")[0]
        if file.path in self._folders or self.files.setdefault(file.path, file) != file:
            raise twice(file.path)

    def disarm(self) -> None:
        """Leave out the HEAD of every folder that git would take for a repository."""
        names: dict[bytes, set[bytes]] = {}
        for path in (*self.files, *self._folders):
            folder, _, name = path.rpartition(b"/")
            names.setdefault(folder, set()).add(name)
        for path in [path for path in self.files if path.rpartition(b"/")[2].lower() == b"head"]:
            if armed(names[path.rpartition(b"/")[0]]):
                del self.files[path]
                self.kept.append(Kept(shown(path), "path.repository"))


def by_folder(file: File) -> bytes:
    """The order in which each folder is come by only once."""
    return file.path.replace(b"/", b"\0")
