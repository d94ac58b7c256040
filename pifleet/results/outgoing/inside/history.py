"""Owns a repository's names: branches, tags, HEAD, stashes in their order, and the commits that only a log remembers.
It must not touch files, the index or the state of an operation."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from pifleet.results.capture.repository import Repository
from pifleet.results.capture.tool import git

_NONE = "0" * 40
# What the log says is ours to say; what git would add to it is not wanted.
_QUIET = ("-c", "core.logAllRefUpdates=false")


def bring(git_dir: bytes, told: dict[str, Any], before: Repository) -> None:
    """Make the names of a repository those that home tells; `before` is what it was copied from. Raises Broken."""
    wanted = dict(told["refs"])
    if told["head"] and told["head_ref"]:
        wanted[told["head_ref"]] = told["head"]
    _update(git_dir, (f"delete {name}" for name in sorted(before.refs.keys() - wanted.keys())))
    _update(git_dir, (f"update {name} {oid}" for name, oid in sorted(wanted.items())))
    if told["head_ref"]:
        git(git_dir, *_QUIET, "symbolic-ref", "HEAD", told["head_ref"].encode("latin-1"))
    else:
        git(git_dir, *_QUIET, "update-ref", "--no-deref", "HEAD", told["head"])
    _log(git_dir, "refs/stash", [(oid, _subject(git_dir, oid)) for oid in reversed(told["stashes"])])
    lost = [(oid, "pifleet: remembered") for oid in told["tips"]]
    _log(git_dir, "HEAD", [*lost, *([(told["head"], "pifleet: put back")] if told["head"] else [])])


def present(git_dir: bytes, oids: Iterable[str]) -> list[str]:
    """Those that a repository itself has."""
    shown = git(git_dir, "cat-file", "--batch-check", data="".join(f"{oid}\n" for oid in sorted(oids)).encode())
    return [line.split()[0].decode() for line in shown.splitlines() if not line.endswith(b"missing")]


def reaches(git_dir: bytes, commits: set[str], wanted: Iterable[str]) -> bool:
    """Whether a repository has all that is wanted, among these commits or what leads up to them."""
    lacking = set(wanted) - commits
    if len(present(git_dir, lacking)) < len(lacking):
        return False
    asked = [*sorted(lacking), *(f"^{oid}" for oid in present(git_dir, commits))]
    data = "".join(f"{line}\n" for line in asked).encode()
    return not lacking or not git(git_dir, "rev-list", "--max-count=1", "--stdin", data=data)


def _update(git_dir: bytes, commands: Iterable[str]) -> None:
    data = "".join(f"{command}\n" for command in commands).encode("latin-1")
    if data:
        git(git_dir, *_QUIET, "update-ref", "--stdin", data=data)


def _subject(git_dir: bytes, oid: str) -> str:
    told = git(git_dir, "rev-list", "--max-count=1", "--format=%s", oid, "--").decode("utf-8", "surrogateescape")
    return told.partition("\n")[2].strip()


def _log(git_dir: bytes, name: str, entries: list[tuple[str, str]]) -> None:
    """Append (id, message) to a log, oldest first; it is git's own form (`git help reflog`, files of logs/)."""
    if not entries:
        return
    path = os.path.join(git_dir, b"logs", name.encode())
    os.makedirs(os.path.dirname(path), exist_ok=True)
    before = _NONE
    with open(path, "ab") as file:
        for oid, message in entries:
            line = f"{before} {oid} pifleet <pifleet@localhost> {time.time():.0f} +0000\t{message}\n"
            file.write(line.encode("utf-8", "surrogateescape"))
            before = oid
