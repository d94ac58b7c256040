"""Owns the generations of one sandbox: a bare git store, its quarantine, the one step that adds a generation.
It must not know where the objects come from or how plain files look."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pifleet.results.capture.packs import object_id
from pifleet.results.capture.trees import commit_content, tree_content
from pifleet.results.limits import Limits, Refusal
from pifleet.results.store import loose, packed
from pifleet.results.store.caches import borrow, caches, seed
from pifleet.results.store.files import Files
from pifleet.results.store.homegit import HomeGit
from pifleet.results.store.packs import adopt, consolidate, crowded
from pifleet.results.store.refs import refs_of
from pifleet.results.store.trees import Objects
from pifleet.results.units import Unit

_HAVE = 8000
_RECEIPT_BYTES = 1 << 30
_QUARANTINE_SECONDS = 3 * 86400
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Store:
    """`results` is the folder of all results; the store itself is `.store/<sandbox id>.git` in it.

    Refs of generation n lie under refs/sandbox/<id>/gen/<n>/: `generation` is a commit whose tree holds receipt.json
    and whose message holds its sha256; `tree/<name>/...` and `repo/<path>/...` hold the units' commits and refs.
    """

    def __init__(self, results: Path, sandbox_id: str, limits: Limits) -> None:
        if not _ID.fullmatch(sandbox_id):
            raise ValueError(f"not a sandbox id: {sandbox_id!r}")
        self.folder = results / ".store" / f"{sandbox_id}.git"
        self.sandbox_id = sandbox_id
        self.git = HomeGit(self.folder, limits)
        self.limits = limits
        self._prefix = f"refs/sandbox/{sandbox_id}/gen/"
        self._incoming = self.folder / "incoming"
        self._lenders: list[Path] = []

    def open(self, repos: Sequence[str]) -> tuple[HomeGit, dict[int, str]]:
        """Make the store where there is none, and a quarantine; returns the git that writes into that, and the
        generations that are there.

        The store borrows from the caches of the sandbox's `repos`.

        The quarantine keeps the whole packs of an answer that broke off lately. Whoever calls holds the sandbox's lock,
        so what a killed pull left half done can go.
        """
        HomeGit.create(self.folder)
        # Once: a cache that another pull makes meanwhile is nothing that the quarantine could build upon.
        self._lenders = caches(self.folder.parent, repos)
        borrow(self.folder, self._lenders)
        there = self._tidy()
        packs = self._incoming / "pack"
        if self._stale():
            self.discard()
        packs.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in list(packs.iterdir()):  # half of a pair is left by a pull that was killed while it took them over
            whole = path.with_suffix(".idx").exists() and path.with_suffix(".pack").exists()
            if path.name.startswith("tmp_") or not whole:
                path.unlink(missing_ok=True)
        return HomeGit(self.folder, self.limits, self._incoming, self._lenders), there

    def _stale(self) -> bool:
        """Whether what an earlier answer left is too old to be asked for again, or too much to be kept for that."""
        try:
            facts = [path.stat() for path in (self._incoming / "pack").iterdir()]
        except FileNotFoundError:
            return False
        oldest = min((fact.st_mtime for fact in facts), default=time.time())
        return time.time() - oldest > _QUARANTINE_SECONDS or sum(fact.st_size for fact in facts) > self.limits.wire

    def files(self, quarantine: HomeGit) -> Files:
        """What takes packs of files into the quarantine."""
        packs = self.folder / "objects" / "pack"
        there = quarantine.sizes if any(packs.glob("*.idx")) else lambda _: ()
        return Files(self._incoming / "pack", packs, self.limits, there)

    def held(self) -> bytes:
        """The 20 byte ids, one after the other, of all objects in the quarantine."""
        shown = (self.git.run("show-index", data=path.read_bytes())
                 for path in sorted((self._incoming / "pack").glob("*.idx")))
        return b"".join(bytes.fromhex(line.split()[1].decode()) for lines in shown for line in lines.splitlines())

    def _tidy(self) -> dict[int, str]:
        """Remove the refs of a generation that never came to be, or is to be no more. Returns those that are."""
        self._unlock()
        shown = self._shown("")
        there = _generations(shown)
        self._delete(f"{self._prefix}{name}" for name in shown if int(name.partition("/")[0]) not in there)
        return there

    def _unlock(self) -> None:
        """Remove what a git that was killed keeps the next one out with."""
        for left in [*self.folder.glob("*.lock"), *self.folder.glob("refs/**/*.lock"), self.folder / "packed-refs.new"]:
            left.unlink(missing_ok=True)

    def forget(self, numbers: Iterable[int]) -> None:
        """Make these generations none; what only they held stays until it is swept. Whoever calls holds the lock."""
        self._unlock()
        there = self.generations()
        self._delete(f"{self._prefix}{number}/generation" for number in numbers if number in there)
        self._tidy()

    def _delete(self, names: Iterable[str]) -> None:
        if lines := [f"delete {name}\n" for name in names]:
            self.git.run("update-ref", "--stdin", data="".join(lines).encode())

    def discard(self) -> None:
        """Forget the quarantine: it has landed, or is not wanted again."""
        shutil.rmtree(self._incoming, ignore_errors=True)

    def lend(self, units: Iterable[Unit], repos: Sequence[str]) -> None:
        """Put what these repositories have from their upstreams into the caches, for the pulls of other sandboxes.

        It saves bytes and nothing more, so what stands in its way is no reason to call a pull failed.
        """
        for unit in units:
            name = os.fsdecode(unit.path)
            if name in repos and unit.facts["upstream"]:
                with contextlib.suppress(Refusal, OSError):
                    seed(self.folder.parent, name, self.git, unit.facts["upstream"], self.limits)

    def settle(self, *, keep: bool) -> None:
        """End a pull: what is left of the quarantine goes, or may be kept for a next attempt where there is any."""
        if not keep or not any((self._incoming / "pack").glob("*.idx")):
            self.discard()

    def generations(self) -> dict[int, str]:
        """Number -> commit, oldest first; empty where there is no store."""
        return _generations(self._shown("*/generation")) if self.folder.is_dir() else {}

    def receipt(self, commit: str) -> tuple[dict[str, Any], bytes]:
        """A generation's receipt, parsed and as bytes. Raises Refusal when its commit vouches for another."""
        with Objects(self.git) as objects:
            data = _vouched(objects, commit)
        parsed: dict[str, Any] = json.loads(data)
        return parsed, data

    def receipts(self) -> Iterator[dict[str, Any]]:
        """The receipts of all generations, oldest first. Raises Refusal as `receipt` does."""
        with Objects(self.git) as objects:
            yield from (json.loads(_vouched(objects, commit)) for commit in self.generations().values())

    def have(self, units: Iterable[Unit]) -> list[str]:
        """Ids whose histories need not be sent again: the units' own, and the tips of the caches it borrows from."""
        tips = [tip for cache in self._lenders for tip in HomeGit(cache, self.limits).tips()]
        return list(dict.fromkeys([*(oid for unit in units for oid in sorted(unit.histories)), *tips]))[:_HAVE]

    def keep(self) -> None:
        """Move the quarantine's packs into the store, the index of each last; still nothing refers to them."""
        adopt(self._incoming / "pack", self.folder / "objects" / "pack")

    def commit(self, number: int, previous: str, units: Iterable[Unit], receipt: bytes, title: str) -> str:
        """Add generation `number`; returns its commit, which only names the `previous` one, so that that can go."""
        commit = self._receipted(receipt, title, [f"previous: {previous}"] if previous else [])
        names = {**refs_of(units), "generation": commit}
        packed.add(self.folder, {f"{self._prefix}{number}/{name}": oid for name, oid in names.items()})
        self.consolidate()
        return commit

    def _receipted(self, receipt: bytes, title: str, words: list[str]) -> str:
        """The commit that vouches for a receipt."""
        tree = tree_content({b"receipt.json": (0o100644, object_id("blob", receipt))})
        message = "\n".join([title, "", f"receipt sha256: {hashlib.sha256(receipt).hexdigest()}", *words])
        commit = commit_content(object_id("tree", tree), [], message)
        loose.write(self.folder, [("blob", receipt), ("tree", tree), ("commit", commit)])
        return object_id("commit", commit).hex()

    def consolidate(self) -> None:
        """Keep many generations quick; where that fails nothing is lost, and the next pull tries again."""
        if crowded(self.folder):
            with contextlib.suppress(Refusal, OSError):
                consolidate(self.git, self.folder, self.limits)

    def refs(self, number: int) -> dict[str, str]:
        """Name -> id of all refs of a generation but the one that makes it one, named as by `refs_of`."""
        found = self._shown(f"{number}/")
        return {name.partition("/")[2]: oid for name, oid in found.items() if name != f"{number}/generation"}

    def _shown(self, pattern: str) -> dict[str, str]:
        """Name below the prefix -> id of the refs that match."""
        shown = self.git.run("for-each-ref", "--format=%(refname) %(objectname)", f"{self._prefix}{pattern}").decode()
        return dict(line.removeprefix(self._prefix).split(" ") for line in shown.splitlines())


def _generations(refs: Mapping[str, str]) -> dict[int, str]:
    """Number -> commit, oldest first."""
    pairs = [(name.partition("/"), oid) for name, oid in refs.items()]
    return dict(sorted((int(number), oid) for (number, _, name), oid in pairs if name == "generation"))


def _vouched(objects: Objects, commit: str) -> bytes:
    """The receipt in a generation's commit. Raises Refusal when it is not the one that the commit vouches for."""
    try:
        data = objects.blob(f"{commit}:receipt.json", _RECEIPT_BYTES)
        message = objects.commit(commit).decode()
    except Refusal as refusal:
        raise Refusal("store.damaged", str(refusal)) from None
    if data is None or f"receipt sha256: {hashlib.sha256(data).hexdigest()}" not in message.splitlines():
        raise Refusal("store.damaged", f"the receipt in {commit} is not the one that was stored")
    return data
