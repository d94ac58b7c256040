"""Owns what changed between two generations: commits by branch, files by unit, and their differences as text.
It must not write anywhere; names and subjects leave it escaped, the lines of a patch as they are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from pifleet.errors import BadInput
from pifleet.results.choosing import Chosen, Part, explained
from pifleet.results.names import said, shown
from pifleet.results.store.contents import ALL, Contents, File
from pifleet.results.store.homegit import HomeGit, check
from pifleet.results.units import Unit

EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # the empty tree, which every git knows
LISTED = 100  # commits of one branch that are named
_SUBJECT = 200
_TEXT = "1m"  # larger files are named in a patch and not shown


What = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class Branch:
    """A branch, or a detached HEAD: its ids before and after ("" where there was none), and its new commits, newest
    first, as (id, subject). `dropped` counts the commits that it no longer has."""

    name: str
    before: str
    after: str
    commits: tuple[tuple[str, str], ...]
    added: int
    dropped: int


@dataclass(frozen=True)
class Change:
    """A file or link, by its escaped path in the unit."""

    path: str
    what: What


@dataclass(frozen=True)
class UnitChange:
    """One unit that is not as it was."""

    name: str
    what: What
    branches: tuple[Branch, ...]
    files: tuple[Change, ...]

    def as_json(self) -> dict[str, Any]:
        branches = [vars(branch) | {"commits": [{"id": oid, "subject": subject} for oid, subject in branch.commits]}
                    for branch in self.branches]
        return {"name": self.name, "change": self.what, "branches": branches,
                "files": [{"path": one.path, "change": one.what} for one in self.files]}


@dataclass(frozen=True)
class _Pair:
    """One unit in both generations, in at least one of which it is; `path` narrows it."""

    before: Unit | None
    after: Unit | None
    place: bytes
    path: bytes


def compare(old: Chosen, new: Chosen, typed: str = "") -> list[UnitChange]:
    """What of `REPO[/PATH]`, or of everything, is different in `new`. Raises BadInput, PifleetError for damage."""
    with explained(new.store, new.title), new.contents() as contents:
        changes = [_change(new.store.git, contents, pair) for pair in _pairs(old, new, typed)]
    return [one for one in changes if one.branches or one.files or one.what != "changed"]


def patch(old: Chosen, new: Chosen, typed: str = "") -> Iterator[bytes]:
    """The same as lines of a unified diff; binary files, and those of more than 1 MiB, are only named in it."""
    with explained(new.store, new.title), new.contents() as contents:
        for pair in _pairs(old, new, typed):
            for part in ALL:
                before, after = (_tree(contents, unit, part) for unit in (pair.before, pair.after))
                if before != after:
                    yield from _patch(new.store.git, before, after, pair)
            yield from _big(contents, pair)


def _pairs(old: Chosen, new: Chosen, typed: str) -> list[_Pair]:
    """The units that are meant. Raises BadInput where neither generation has one of this name."""
    asked: dict[str, Part] = {}
    for chosen in (old, new):
        with suppress(BadInput):
            asked |= {part.unit.key: part for part in chosen.part(typed)}
    if not asked:
        new.part(typed)
    units = [{part.unit.key: part.unit for part in chosen.parts} for chosen in (old, new)]
    return [_Pair(units[0].get(key), units[1].get(key), part.place, part.path) for key, part in sorted(asked.items())]


def _change(git: HomeGit, contents: Contents, pair: _Pair) -> UnitChange:
    what: What = "changed" if pair.before and pair.after else "added" if pair.after else "removed"
    branches = [] if pair.path else _branches(git, pair.before, pair.after)
    return UnitChange(shown(pair.place), what, tuple(branches), tuple(_files(contents, pair)))


def _files(contents: Contents, pair: _Pair) -> Iterator[Change]:
    """By path; a file of two parts counts as the first part's."""
    if pair.before and pair.after and pair.before.state == pair.after.state:
        return
    found: list[dict[bytes, File]] = []
    for unit in (pair.before, pair.after):
        files = contents.files(unit, ALL, pair.path) if unit else ()
        by_path: dict[bytes, File] = {}
        for file in files:
            by_path.setdefault(file.path, file)
        found.append(by_path)
    before, after = found
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            yield Change(shown(path), "added" if path not in before else "removed" if path not in after else "changed")


def _branches(git: HomeGit, before: Unit | None, after: Unit | None) -> list[Branch]:
    """Those whose commit is another; commits count as new that no branch had before."""
    old, new = _heads(before), _heads(after)
    known, kept = [f"^{oid}" for oid in old.values()], [f"^{oid}" for oid in new.values()]
    found = []
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name, ""), new.get(name, "")
        if was != now:
            commits, added = _commits(git, now, known)
            found.append(Branch(said(name), was, now, tuple(commits), added, _commits(git, was, kept)[1]))
    return found


def _heads(unit: Unit | None) -> dict[str, str]:
    if unit is None:
        return {}
    heads = {name.removeprefix("refs/heads/"): oid for name, oid in unit.refs.items() if name.startswith("refs/heads/")}
    return heads if unit.facts["head_ref"] or not unit.facts["head"] else {**heads, "HEAD": unit.facts["head"]}


def _commits(git: HomeGit, tip: str, without: list[str]) -> tuple[list[tuple[str, str]], int]:
    """(the newest as (id, escaped subject), how many in all) of what `tip` has and the others have not."""
    if not tip:
        return [], 0
    asked = "".join(f"{oid}\n" for oid in (tip, *without)).encode()
    number = int(git.run("rev-list", "--count", "--stdin", data=asked))
    told = git.run("log", "--stdin", "-z", "--encoding=UTF-8", "--format=%H %s", f"--max-count={LISTED}", data=asked)
    lines = [line.decode("utf-8", "surrogateescape").partition(" ") for line in told.split(b"\0") if line]
    return [(oid, said(subject, _SUBJECT)) for oid, _, subject in lines], number


def _tree(contents: Contents, unit: Unit | None, part: str) -> str:
    commit = unit.facts.get(part) if unit else None
    return contents.objects.tree(f"{commit}^{{tree}}")[0] if commit else EMPTY


def _big(contents: Contents, pair: _Pair) -> Iterator[bytes]:
    """A line for each changed file that came as blocks, since no tree of git's has it."""
    before, after = ({file.path: file for file in contents.files(unit, ALL, pair.path) if file.blocks} if unit else {}
                     for unit in (pair.before, pair.after))
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            name = shown(pair.place + b"/" + path)
            yield f"Binary files a/{name} and b/{name} differ\n".encode()


def _patch(git: HomeGit, before: str, after: str, pair: _Pair) -> Iterator[bytes]:
    place = os.fsdecode(pair.place)
    argv = ("--literal-pathspecs", "-c", f"core.bigFileThreshold={_TEXT}", "diff-tree", "-p", "-r", "--no-ext-diff",
            "--no-textconv", "--no-renames", "--no-color", "--full-index", f"--src-prefix=a/{place}/",
            f"--dst-prefix=b/{place}/", before, after, "--", *([os.fsdecode(pair.path)] if pair.path else []))
    with tempfile.TemporaryFile() as errors, git.start(*argv, errors=errors) as child:
        assert child.stdout
        yield from child.stdout
        check(child.wait(), errors, "git.connectivity")
