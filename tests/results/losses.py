"""Owns what of a sandbox's holdings is not in a generation at home.
It must not look at the sandbox, which may be gone."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator

from pifleet.results import Limits
from pifleet.results.names import shown
from pifleet.results.receipt import units_of
from pifleet.results.store.contents import Contents, File
from pifleet.results.store.generations import Store
from pifleet.results.units import Unit
from tests.results.box import Box
from tests.results.holdings import Content, Holdings, Repository, content_of, link_to

_FILES = ("snapshot", "ignored", "artifacts")
_SMALL = 64 << 20


class Home:
    """One generation as it is read from the store."""

    def __init__(self, box: Box, number: int) -> None:
        self._store = Store(box.results, "ana-main", Limits())
        self.units = units_of(self._store.receipt(self._store.generations()[number])[0])
        refs = f"--glob=refs/sandbox/ana-main/gen/{number}/*"
        self.objects = set(box.home_git("rev-list", "--objects", "--no-object-names", refs).split())
        with Contents(self._store.git, Limits()) as contents:
            self.files = {unit.key: dict(_read(contents, unit, _FILES)) for unit in self.units}
            self.state = {unit.key: dict(_read(contents, unit, ("operation",))) for unit in self.units}
        self.indexes = {unit.key: self._index(box, unit) for unit in self.units}

    def _index(self, box: Box, unit: Unit) -> dict[bytes, tuple[str, str]]:
        commit = unit.facts["index"] or unit.facts["head"]
        listed = os.fsencode(box.home_git("ls-tree", "-r", "-z", "--full-tree", commit)) if commit else b""
        lines = (line.split(b"\t", 1) for line in listed.split(b"\0") if line)
        return {path: (facts.decode().split()[0], facts.decode().split()[2]) for facts, path in lines}


def _read(contents: Contents, unit: Unit, parts: tuple[str, ...]) -> Iterator[tuple[bytes, Content]]:
    for file in contents.files(unit, parts):
        if file.link:
            yield file.path, link_to(contents.read(file, _SMALL) or b"")
        else:
            yield file.path, content_of(_bytes(contents, file), program=file.mode == 0o100755)


def _bytes(contents: Contents, file: File) -> bytes:
    with tempfile.TemporaryFile() as copy:
        contents.copy(file, copy.fileno())
        copy.seek(0, io.SEEK_SET)
        return copy.read()


def losses(held: Holdings, home: Home) -> dict[str, str]:
    """Where -> what, for everything that was in the sandbox and is not, or not so, at home; and what is only there."""
    lost: dict[str, str] = {}
    repositories = {unit.path: unit for unit in home.units if unit.kind == "repo"}
    trees = {unit.path: unit for unit in home.units if unit.kind == "tree"}
    seen: set[tuple[str, bytes]] = set()
    for path, content in held.files.items():
        unit, inside = _unit_of(path, repositories) or (trees.get(b"workspace"), path)
        if unit is None or home.files[unit.key].get(inside) != content:
            lost |= _unless_waived(path, unit, inside, held)
        else:
            seen.add((unit.key, inside))
    logs = home.files[trees[b"sessions"].key]
    lost |= {f"sessions/{shown(path)}": "a log" for path, content in held.sessions.items() if logs.get(path) != content}
    lost |= {f"sessions/{shown(path)}": "a ghost" for path in logs.keys() - held.sessions.keys()}
    for unit in (*repositories.values(), *(tree for tree in trees.values() if tree.path == b"workspace")):
        repository = held.repositories.get(unit.path)
        ghosts = {path for path in home.files[unit.key] if (unit.key, path) not in seen}
        lost |= {f"{shown(unit.path)}/{shown(path)}": "a ghost" for path in ghosts - (
            repository.unshown if repository else set()) if f"{shown(unit.path)}/{shown(path)}" not in lost}
    # What only such a ref leads to is missing in its repository, also where that is a submodule's store in another's.
    behind = {oid: f"{shown(place)}/{name}" for place, repository in held.repositories.items()
              for name, oid in repository.refs.items() if place in repositories and name in _told(repositories[place])}
    for place, repository in held.repositories.items():
        if unit := repositories.get(place):
            lost |= _of_repository(shown(place), repository, unit, home, behind)
        else:
            lost[shown(place)] = "a repository"
    return lost


def _told(unit: Unit) -> set[str]:
    """Refs that home has no name for."""
    return {name.decode("latin-1") for name, reason, _ in unit.notes if reason.startswith("ref.")}


def _unit_of(path: bytes, repositories: dict[bytes, Unit]) -> tuple[Unit, bytes] | None:
    """The innermost repository that a path lies in, and the path inside it."""
    parts = path.split(b"/")
    for at in range(len(parts) - 1, 0, -1):
        if unit := repositories.get(b"/".join(parts[:at])):
            return unit, b"/".join(parts[at:])
    return (repositories[b"."], path) if b"." in repositories else None


def _unless_waived(path: bytes, unit: Unit | None, inside: bytes, held: Holdings) -> dict[str, str]:
    told = [note for note, reason, _ in unit.notes if reason == "waived"] if unit else []
    if path in held.waivable and any(inside == note or inside.startswith(note + b"/") for note in told):
        return {}
    return {f"{shown(unit.path if unit else b'workspace')}/{shown(inside)}": "a file"}


def _of_repository(where: str, held: Repository, unit: Unit, home: Home, behind: dict[str, str]) -> dict[str, str]:
    told = _told(unit)
    lost = {behind.get(oid, f"{where}/.git object {oid}"): "an object" for oid in held.objects - home.objects}
    named = {name for name in held.refs if not name.startswith("refs/remotes/")}
    lost |= {f"{where}/.git {name}": "a ref" for name in named - told - unit.refs.keys()}
    lost |= {f"{where}/.git {name}": "a ref" for name, oid in unit.refs.items() if held.refs.get(name) != oid}
    lost |= {f"{where}/.git stash {oid}": "a stash" for oid in held.stashes if oid not in unit.facts["stashes"]}
    if held.head != unit.facts["head"]:
        lost[f"{where}/.git HEAD"] = "HEAD"
    for (stage, path), entry in held.index.items():
        there = home.indexes[unit.key].get(path) if stage == 0 else None
        if stage == 0 and there != entry:
            lost[f"{where}/.git index {shown(path)}"] = f"an index entry {entry}, at home {there}"
        elif stage and b"stages/%d/%s" % (stage, path) not in home.state[unit.key]:
            lost[f"{where}/.git stage {stage} {shown(path)}"] = "a side of a conflict"
    for name, data in held.state.items():
        kept = home.state[unit.key].get(b"git/" + os.fsencode(name))
        if kept is None or kept[1] != content_of(data)[1]:
            lost[f"{where}/.git {name}"] = "a state file"
    return lost
