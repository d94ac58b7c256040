"""Owns making a whole repository in a folder beside its place: seed, names, files, index, state of an operation.
It must not touch the place itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from typing import Any

from pifleet.results.capture.repository import STATE, Repository
from pifleet.results.capture.tool import ENV, GIT, Broken, git
from pifleet.results.outgoing.inside import history
from pifleet.results.outgoing.inside.content import Content, Entry
from pifleet.results.outgoing.inside.look import Seen
from pifleet.results.outgoing.inside.writer import Writer

FILES = ("snapshot", "ignored", "artifacts")
_INIT = {**ENV, "GIT_DEFAULT_HASH": "sha1", "GIT_DEFAULT_REF_FORMAT": "files"}
_REMOVED = b"0 " + b"0" * 40


def seed(folder: bytes, seen: Seen | None, *, bare: bool) -> bytes:
    """Make `folder` and in it an empty repository, or a copy of the one that was seen; returns its git directory."""
    git_dir = folder if bare else os.path.join(folder, b".git")
    if seen is None:
        init(folder, bare=bare)
        return git_dir
    if not bare:
        os.mkdir(folder)
    shutil.copytree(os.fsdecode(seen.repository.git_dir), os.fsdecode(git_dir), symlinks=True, ignore=_unwanted,
                    copy_function=_copied)
    shutil.copymode(seen.root, folder)
    # That of a submodule lay elsewhere.
    git(git_dir, "config", "--unset-all", "core.worktree", tree=folder, may_fail=True)
    return git_dir


def init(folder: bytes, *, bare: bool) -> None:
    """A new repository that has nothing but what git needs. Raises Broken."""
    command: list[str | bytes] = [*GIT, "init", "-q", "--template=", *(["--bare"] if bare else []), "--", folder]
    done = subprocess.run(command, env=_INIT, capture_output=True, check=False)
    if done.returncode:
        raise Broken("git.broken", f"git init: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")


def fill(folder: bytes, git_dir: bytes, told: dict[str, Any], content: Content, before: Repository) -> int:
    """Make a seeded repository, which has all objects, what home tells; returns the number of files. Raises Broken,
    OSError."""
    history.bring(git_dir, told, before)
    if told["bare"]:
        return 0
    entries = content.entries(*FILES)
    with Writer(folder) as writer:
        for entry in entries:
            writer.write(entry, content)
    operation = content.entries("operation")
    for path, _ in before.state_files:
        os.unlink(os.path.join(git_dir, path))
    with Writer(git_dir) as writer:
        for entry in _below(operation, b"git/"):
            if not _is_state(entry.path):
                raise Broken("path.bad", "a file that is no state of an operation")
            writer.write(entry, content)
    _index(folder, git_dir, told, operation, {entry.path: entry.mode for entry in entries})
    return len(entries)


def _index(folder: bytes, git_dir: bytes, told: dict[str, Any], operation: list[Entry],
           modes: dict[bytes, int]) -> None:
    """The index as it was, and then git's knowledge of which files are unchanged."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(git_dir, b"index"))
    if tree := told["trees"].get("index") or (f"{told['head']}^{{tree}}" if told["head"] else ""):
        git(git_dir, "read-tree", tree)
    lines = []
    for stage in (b"1", b"2", b"3"):
        for entry in _below(operation, b"stages/" + stage + b"/"):
            lines.append(_REMOVED + b"\t" + entry.path)
            mode = modes.get(entry.path, entry.mode)
            lines.append(b"%o %s %s\t%s" % (mode, entry.oid.encode(), stage, entry.path))
    # The removals first: each would take the sides away with it.
    data = b"".join(line + b"\0" for line in sorted(lines, key=lambda line: not line.startswith(_REMOVED)))
    if data:
        git(git_dir, "update-index", "-z", "--index-info", tree=folder, data=data)
    git(git_dir, "update-index", "-q", "--refresh", tree=folder, may_fail=True)


def _below(entries: list[Entry], prefix: bytes) -> Iterator[Entry]:
    for entry in entries:
        if entry.path.startswith(prefix):
            yield entry._replace(path=entry.path[len(prefix) :])


def _is_state(path: bytes) -> bool:
    return path.split(b"/")[0].decode("latin-1") in STATE or path.startswith(b"lfs/objects/")


def _unwanted(folder: str, names: list[str]) -> list[str]:
    """Locks, whose holders are gone, and what is neither file nor folder nor link."""
    def kept(name: str) -> bool:
        kind = stat.S_IFMT(os.lstat(os.path.join(folder, name)).st_mode)
        return not name.endswith(".lock") and kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)

    return [name for name in names if not kept(name)]


def _copied(source: str, target: str) -> None:
    """Objects are never written again, which their mode says, so a second name for them will do."""
    if not os.stat(source).st_mode & 0o222:
        with contextlib.suppress(OSError):
            return os.link(source, target)
    shutil.copy2(source, target)
    return None
