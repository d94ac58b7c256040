"""Owns what of a stored unit is told and sent to the far end: its names, the ids of its trees, two packs of objects.
It must not know how these travel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pifleet.results.capture.trees import EMPTY
from pifleet.results.store.homegit import HomeGit
from pifleet.results.store.packs import packed
from pifleet.results.store.trees import Objects
from pifleet.results.units import Unit

PARTS = ("snapshot", "index", "ignored", "artifacts", "blocks", "operation")
_CONTENT = ("snapshot", "ignored", "artifacts", "blocks", "operation")
_TIPS = re.compile(rf"tree {EMPTY.hex()}\n(?:parent [0-9a-f]{{40}}\n)*author pifleet .*\ncommitter .*\n\ntips\n")


def trees_of(git: HomeGit, unit: Unit) -> dict[str, str]:
    """Part -> id of its tree. Raises Refusal."""
    parts = [part for part in PARTS if unit.facts.get(part)]
    names = [f"{unit.facts[part]}^{{tree}}" for part in parts]
    return dict(zip(parts, git.run("rev-parse", *names).decode().split(), strict=True)) if names else {}


def tips_of(git: HomeGit, unit: Unit) -> list[str]:
    """The commits that only a log remembered, out of the chain of commits that keeps them. Raises Refusal."""
    tips: list[str] = []
    oid = unit.facts["tips"]
    while oid:
        text = git.run("cat-file", "commit", oid).decode("utf-8", "replace")
        parents = re.findall(r"^parent ([0-9a-f]{40})$", text.partition("\n\n")[0], re.MULTILINE)
        oid = parents[0] if parents and _links(git, parents[0]) else ""
        tips += parents[1:] if oid else parents
    return tips


def _links(git: HomeGit, oid: str) -> bool:
    return bool(_TIPS.fullmatch(git.run("cat-file", "commit", oid).decode("utf-8", "replace")))


class Told:
    """One unit as it is sent. Raises Refusal where the store lacks something."""

    def __init__(self, git: HomeGit, unit: Unit) -> None:
        self._git, self.unit = git, unit
        self._tips, self._trees = tips_of(git, unit), trees_of(git, unit)

    @property
    def plain(self) -> bool:
        """Whether it is files only: a tree, or a repository that could not be read."""
        return self.unit.kind == "tree" or any(path == b".git" and reason.startswith("git.")
                                               for path, reason, _ in self.unit.notes)

    @property
    def _bare(self) -> bool:
        """A generation does not say so; a bare repository has no files and is called NAME.git."""
        return self.unit.path.endswith(b".git") and self._trees == {"snapshot": EMPTY.hex()}

    def record(self) -> dict[str, Any]:
        unit, facts = self.unit, self.unit.facts
        return {"kind": "unit", "unit": unit.kind, "path": unit.path.decode("latin-1"), "plain": self.plain,
                "bare": self._bare, "head": facts["head"], "head_ref": facts["head_ref"], "refs": unit.refs,
                "stashes": facts["stashes"], "tips": self._tips, "trees": self._trees}

    def packs(self, have: Iterable[str]) -> list[Iterator[bytes]]:
        """The history, unless it is files only, and the content, which builds on it. `have` is there already."""
        content = [self.unit.facts[part] for part in _CONTENT if self.unit.facts.get(part)]
        if self.plain:
            return [_packed(self._git, content, [])]
        known = [oid for oid, (kind, _) in self._git.sizes(have).items() if kind in ("commit", "tag")]
        base = [oid for oid in (self.unit.facts["head"], self.unit.facts["index"]) if oid]
        return [_packed(self._git, self._history(), known), _packed(self._git, content, base)]

    def _history(self) -> list[str]:
        """All that a repository names, what is staged, and the sides of its conflicts."""
        named = [self.unit.facts["head"], *self.unit.refs.values(), *self.unit.facts["stashes"], *self._tips,
                 self._trees.get("index", "")]
        if "operation" in self._trees:
            with Objects(self._git) as objects:
                named += [oid for _, _, oid in objects.below(self._trees["operation"], b"stages")]
        return sorted({*named} - {""})


def _packed(git: HomeGit, wanted: Iterable[str], known: Iterable[str]) -> Iterator[bytes]:
    """One pack of all that `wanted` reach and `known` do not. Raises Refusal."""
    asked = "".join([*(f"{oid}\n" for oid in wanted), *(f"^{oid}\n" for oid in known)]).encode()
    # Differences that the store has are sent as such; to look for more would cost longer than it saves.
    yield from packed(git, asked, "--revs", "--window=0")
