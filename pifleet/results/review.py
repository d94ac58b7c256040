"""Owns looking at one generation: what each unit held, the files below a path, the bytes of one of them.
It must not write anywhere but to a descriptor that it is given."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from pifleet.errors import BadInput, Mistake
from pifleet.results.choosing import Chosen, Part, explained
from pifleet.results.names import said, shown
from pifleet.results.store.contents import ALL, Contents, File
from pifleet.results.units import Unit
from pifleet.wording import choose as nearest
from pifleet.wording import show


@dataclass(frozen=True)
class UnitView:
    """One repository or tree for people: names are escaped, `branch` "" where HEAD is detached or there is none."""

    name: str
    kind: str
    head: str
    branch: str
    branches: int
    tags: int
    stashes: int
    operation: str
    staged: bool
    files: int
    bytes: int
    artifacts: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One file or link: its name is escaped and begins with that of its unit; `bytes` of a link are its target's."""

    name: str
    kind: str
    bytes: int
    oid: str


def overview(chosen: Chosen) -> list[UnitView]:
    """Each unit of a generation. Raises PifleetError when the store is damaged."""
    with explained(chosen.store, chosen.title), chosen.contents() as contents:
        return [_view(part, [shown(file.path) for file in contents.files(part.unit, ("artifacts",))])
                for part in chosen.parts]


def _view(part: Part, artifacts: list[str]) -> UnitView:
    unit = part.unit
    return UnitView(
        shown(part.place), unit.kind, unit.facts["head"], said(unit.facts["head_ref"].removeprefix("refs/heads/"), 200),
        _count(unit, "refs/heads/"), _count(unit, "refs/tags/"), len(unit.facts["stashes"]),
        unit.facts["operation_name"], bool(unit.facts["index"]), unit.facts["files"], unit.facts["bytes"],
        tuple(sorted(artifacts)))


def _count(unit: Unit, prefix: str) -> int:
    return sum(name.startswith(prefix) for name in unit.refs)


def listing(chosen: Chosen, typed: str) -> list[Entry]:
    """Every file at or below `REPO[/PATH]`, by name. Raises BadInput where there is none, PifleetError for damage."""
    with explained(chosen.store, chosen.title), chosen.contents() as contents:
        found = files_of(chosen, typed, contents)
        sizes = contents.sizes([file for _, file in found])
    kinds = {0o120000: "link", 0o100755: "program"}
    return sorted((Entry(shown(b"/".join((part.place, file.path))), kinds.get(file.mode, "file"), sizes[file.oid],
                         file.oid) for part, file in found), key=lambda entry: entry.name)


def one_file(chosen: Chosen, typed: str) -> IO[bytes] | None:
    """The bytes of the file at `REPO/PATH`, read whole before the first is given; None where that is no file.

    A link is what it says. Raises BadInput where there is nothing, PifleetError when the store is damaged.
    """
    with explained(chosen.store, chosen.title), chosen.contents() as contents:
        found = files_of(chosen, typed, contents)
        if not is_file(found):
            return None
        into = tempfile.TemporaryFile()  # noqa: SIM115 the caller's to close
        contents.copy(found[0][1], into.fileno())
    into.seek(0)
    return into


def is_file(found: Sequence[tuple[Part, File]]) -> bool:
    """Whether what `files_of` found is the one file that was asked for, and not what a folder holds."""
    return len(found) == 1 and found[0][0].path in (found[0][1].path, shown(found[0][1].path).encode())


def files_of(chosen: Chosen, typed: str, contents: Contents) -> list[tuple[Part, File]]:
    """Every file at or below `REPO[/PATH]`, once; of two of one path the first part's. Raises BadInput, Refusal."""
    found: dict[tuple[bytes, bytes], tuple[Part, File]] = {}
    parts = chosen.part(typed)
    for part in parts:
        for file in _below(contents, part):
            found.setdefault((part.place, file.path), (part, file))
    if not found and parts[0].path:
        raise BadInput(f"generation {chosen.number} of {chosen.title} has no such file or folder",
                       (Mistake("PATH", show(typed), _instead(contents, parts[0])),))
    return list(found.values())


def _below(contents: Contents, part: Part) -> list[File]:
    """Files at or below a path, which may be typed as it is or as it is shown."""
    found = list(contents.files(part.unit, ALL, part.path))
    if found or b"\\" not in part.path:
        return found
    typed = f"{part.path.decode('utf-8', 'surrogateescape')}/"
    return [file for file in contents.files(part.unit, ALL) if f"{shown(file.path)}/".startswith(typed)]


def _instead(contents: Contents, part: Part) -> str:
    """What is in the deepest folder of the path that is there."""
    folder, wrong = part.path, b""
    there: list[bytes] = []
    while folder and not there:
        folder, _, wrong = folder.rpartition(b"/")
        paths = [file.path[len(folder) :] for file in contents.files(part.unit, ALL, folder)]
        there = [path.lstrip(b"/").split(b"/")[0] for path in paths]
    return nearest(shown(wrong), sorted({shown(name) for name in there}))
