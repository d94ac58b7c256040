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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pifleet.results.limits import Limits, Refusal
from pifleet.results.store.caches import borrow, caches, seed
from pifleet.results.store.homegit import HomeGit
from pifleet.results.units import Unit

_HAVE = 8000
_COMPONENT = 100
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
        self.git = HomeGit(self.folder, limits)
        self._limits = limits
        self._prefix = f"refs/sandbox/{sandbox_id}/gen/"
        self._incoming = self.folder / "incoming"

    def open(self, repos: Sequence[str]) -> HomeGit:
        """Make the store where there is none, and a quarantine; returns the git that writes into that.

        The store borrows from the caches of the sandbox's `repos`.

        The quarantine keeps the whole packs of an answer that broke off lately. Whoever calls holds the sandbox's lock,
        so what a killed pull left half done can go.
        """
        HomeGit.create(self.folder)
        lenders = caches(self.folder.parent, repos)
        borrow(self.folder, lenders)
        self._tidy()
        packs = self._incoming / "pack"
        if self._stale():
            self.discard()
        packs.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in packs.iterdir():
            if path.name.startswith("tmp_") or not path.with_suffix(".idx").exists():
                path.unlink()
        return HomeGit(self.folder, self._limits, self._incoming, lenders)

    def _stale(self) -> bool:
        """Whether what an earlier answer left is too old to be asked for again, or too much to be kept for that."""
        try:
            facts = [path.stat() for path in (self._incoming / "pack").iterdir()]
        except FileNotFoundError:
            return False
        oldest = min((fact.st_mtime for fact in facts), default=time.time())
        return time.time() - oldest > _QUARANTINE_SECONDS or sum(fact.st_size for fact in facts) > self._limits.wire

    def held(self) -> bytes:
        """The 20 byte ids, one after the other, of all objects in the quarantine."""
        shown = (self.git.run("show-index", data=path.read_bytes())
                 for path in sorted((self._incoming / "pack").glob("*.idx")))
        return b"".join(bytes.fromhex(line.split()[1].decode()) for lines in shown for line in lines.splitlines())

    def _tidy(self) -> None:
        """Remove git's own locks and the refs of a generation that never came to be."""
        for lock in [*self.folder.glob("*.lock"), *self.folder.glob("refs/**/*.lock")]:
            lock.unlink(missing_ok=True)
        whole = self.generations()
        shown = self.git.run("for-each-ref", "--format=%(refname)", self._prefix).decode().splitlines()
        torn = [name for name in shown if int(name.removeprefix(self._prefix).partition("/")[0]) not in whole]
        if torn:
            self.git.run("update-ref", "--stdin", data="".join(f"delete {name}\n" for name in torn).encode())

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
                    seed(self.folder.parent, name, self.git, unit.facts["upstream"], self._limits)

    def settle(self, *, keep: bool) -> None:
        """End a pull: what is left of the quarantine goes, or may be kept for a next attempt where there is any."""
        if not keep or not any((self._incoming / "pack").glob("*.idx")):
            self.discard()

    def generations(self) -> dict[int, str]:
        """Number -> commit, oldest first; empty where there is no store."""
        if not self.folder.is_dir():
            return {}
        shown = self.git.run("for-each-ref", "--format=%(refname) %(objectname)", f"{self._prefix}*/generation")
        pairs = (line.split() for line in shown.decode().splitlines())
        return dict(sorted((int(name.removeprefix(self._prefix).partition("/")[0]), oid) for name, oid in pairs))

    def receipt(self, commit: str) -> tuple[dict[str, Any], bytes]:
        """A generation's receipt, parsed and as bytes. Raises Refusal when its commit vouches for another."""
        data = self.git.run("cat-file", "blob", f"{commit}:receipt.json", code="store.damaged")
        message = self.git.run("cat-file", "commit", commit, code="store.damaged").decode()
        if f"receipt sha256: {hashlib.sha256(data).hexdigest()}" not in message.splitlines():
            raise Refusal("store.damaged", f"the receipt in {commit} is not the one that was stored")
        parsed: dict[str, Any] = json.loads(data)
        return parsed, data

    def have(self, units: Iterable[Unit], repos: Sequence[str]) -> list[str]:
        """Ids whose histories need not be sent again: the units' own, and the tips of the caches of `repos`."""
        tips = [tip for cache in caches(self.folder.parent, repos) for tip in HomeGit(cache, self._limits).tips()]
        return list(dict.fromkeys([*(oid for unit in units for oid in sorted(unit.histories)), *tips]))[:_HAVE]

    def keep(self) -> None:
        """Move the quarantine's packs into the store, the index of each last; still nothing refers to them."""
        target = self.folder / "objects" / "pack"
        packs = [path for path in (self._incoming / "pack").glob("*") if not path.name.startswith("tmp_")]
        for path in sorted(packs, key=lambda path: path.suffix == ".idx"):
            path.chmod(0o444)
            path.rename(target / path.name)
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def commit(self, number: int, previous: str, units: Iterable[Unit], receipt: bytes, title: str) -> str:
        """Add generation `number`; returns its commit.

        git moves the refs of a transaction one by one, so the one that makes them a generation is moved last and alone.
        """
        blob = self.git.run("hash-object", "-w", "--stdin", data=receipt).decode().strip()
        tree = self.git.run("mktree", data=f"100644 blob {blob}\treceipt.json\n".encode()).decode().strip()
        message = f"{title}\n\nreceipt sha256: {hashlib.sha256(receipt).hexdigest()}\n"
        parent = ("-p", previous) if previous else ()
        commit = self.git.run("commit-tree", tree, *parent, data=message.encode()).decode().strip()
        refs: dict[str, str] = {}
        for unit in units:
            refs |= {f"{unit.kind}/{_component(unit.path)}/{name}": oid for name, oid in _names(unit).items()}
        lines = [f"create {self._prefix}{number}/{name} {oid}\n" for name, oid in refs.items()]
        transaction = "".join(["start\n", *lines, "prepare\ncommit\n"]).encode()
        self.git.run("update-ref", "--stdin", data=transaction, code="ref.name")
        self.git.run("update-ref", f"{self._prefix}{number}/generation", commit, "")
        self.git.run("pack-refs", "--all")
        return commit


def _names(unit: Unit) -> Mapping[str, str]:
    head = {"head": unit.facts["head"]} if unit.facts["head"] else {}
    stashes = {f"stashes/{at}": oid for at, oid in enumerate(unit.facts["stashes"])}
    return unit.commits | head | stashes | {name.removeprefix("refs/"): oid for name, oid in unit.refs.items()}


def _component(path: bytes) -> str:
    """A path as one component of a ref name; different paths stay different."""
    if len(path) > _COMPONENT:
        return f"={hashlib.sha256(path).hexdigest()}"
    return re.sub(rb"[^A-Za-z0-9_-]|^-", lambda found: b"=%02X" % found[0][0], path).decode()
