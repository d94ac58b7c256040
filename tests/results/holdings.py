"""Owns what a sandbox holds, found out with plain git and plain reads only. It must not use the capture's code, nor
anything else of pifleet: it also runs inside a sandbox."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.results.agent import BARE
from tests.results.box import GIT_ENV, Box

_EMPTY = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
_STATE = ("MERGE_HEAD", "MERGE_MSG", "MERGE_MODE", "SQUASH_MSG", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD",
          "BISECT_LOG", "BISECT_START", "BISECT_TERMS", "rebase-merge", "rebase-apply", "sequencer")
_ENV = {**GIT_ENV, "GIT_NO_REPLACE_OBJECTS": "1", "GIT_OPTIONAL_LOCKS": "0"}
Content = tuple[str, str]  # file, program or link; sha256 of the bytes or of the target


def content_of(data: bytes, *, program: bool = False) -> Content:
    return "program" if program else "file", hashlib.sha256(data).hexdigest()


def link_to(target: bytes) -> Content:
    return "link", hashlib.sha256(target).hexdigest()


@dataclass(frozen=True)
class Bounds:
    """What a pull takes: names of ignored folders that it need not, bytes of one file, of all that is ignored."""

    waived: Collection[str]
    file: int
    ignored: int


@dataclass
class Repository:
    """What a repository holds beside its files; ids are git's, paths relative to its work tree."""

    head: str
    objects: set[str]
    refs: dict[str, str]
    stashes: list[str]
    index: dict[tuple[int, bytes], tuple[str, str]]  # stage, path -> mode, id
    unshown: set[bytes]  # paths of the index that the disk need not show
    state: dict[str, bytes]


@dataclass
class Holdings:
    """Everything of a sandbox: files by path relative to the workspace or the session logs, repositories by path."""

    files: dict[bytes, Content] = field(default_factory=dict)
    sessions: dict[bytes, Content] = field(default_factory=dict)
    repositories: dict[bytes, Repository] = field(default_factory=dict)
    waivable: set[bytes] = field(default_factory=set)
    hurdles: set[bytes] = field(default_factory=set)  # what no pull can take along


def holdings(box: Box, bounds: Bounds) -> Holdings:
    found = Holdings()
    workspace = os.fsencode(box.workspace)
    roots = set(_walk(workspace, b"", found.files, found.hurdles, bounds))
    for root in sorted(roots):
        full = os.path.join(workspace, root)
        found.repositories[root or b"."] = _repository(full)
        if os.path.isfile(os.path.join(full, b".git")) and not _git(full, "rev-parse", "--git-dir"):
            found.hurdles.add(os.path.join(root, b".git"))  # it leads nowhere, since somebody moved one end
        elif os.path.lexists(os.path.join(full, b".git")):
            _ignored(full, root, roots, found, bounds)
    set(_walk(os.fsencode(box.sessions), b"", found.sessions, found.hurdles, bounds))
    return found


def _walk(top: bytes, prefix: bytes, files: dict[bytes, Content], hurdles: set[bytes],
          bounds: Bounds) -> Iterator[bytes]:
    """Fills `files` and `hurdles`; yields the places of repositories, bare ones too."""
    children = sorted(os.scandir(os.path.join(top, prefix)), key=lambda child: child.name)
    names = {child.name for child in children}
    bare = names >= BARE and b".git" not in names and not _tracked(os.path.join(top, prefix.rstrip(b"/")))
    if bare or b".git" in names:
        yield prefix.rstrip(b"/")
    if bare:
        return
    for child in children:
        path = prefix + child.name
        if child.name == b".git":
            continue
        if child.name.lower() == b".git":
            hurdles.add(path)
        elif child.is_symlink():
            files[path] = link_to(os.readlink(child.path))
        elif child.is_dir():
            yield from _walk(top, path + b"/", files, hurdles, bounds)
        elif not child.is_file() or child.stat().st_size > bounds.file:
            hurdles.add(path)
        else:
            program = bool(child.stat().st_mode & 0o100)
            files[path] = content_of(Path(os.fsdecode(child.path)).read_bytes(), program=program)


def _tracked(folder: bytes) -> bool:
    """Whether the repository around a bare one has it as content: then it is some files among others."""
    around, name = os.path.split(folder)
    return bool(_git(around, "--literal-pathspecs", "ls-files", "-z", "--", os.fsdecode(name)))


def _git(root: bytes, *args: str) -> bytes:
    done = subprocess.run(["git", *args], cwd=root, env=_ENV, capture_output=True, check=False)
    return done.stdout


def _repository(root: bytes) -> Repository:
    objects = set().union(*(_reached(folder) | _dangling(folder) for folder in (root, *_modules(root))))
    listed = _git(root, "for-each-ref", "--format=%(objectname) %(refname)").decode("latin-1").splitlines()
    refs = {name: oid for oid, name in (line.split(" ", 1) for line in listed)}
    stashes = _git(root, "rev-list", "-g", "refs/stash", "--").decode().split()
    head = _git(root, "rev-parse", "-q", "--verify", "HEAD^{commit}").decode().strip()
    index, unshown = _index(root)
    named = {oid for mode, oid in index.values() if mode != "160000"}
    return Repository(head, (objects | named | {head}) - {""}, refs, stashes, index, unshown, _state(root))


def _reached(root: bytes) -> set[str]:
    """All that refs and logs lead to, and the names of what should be there and is not."""
    shown = _git(root, "rev-list", "--objects", "--no-object-names", "--missing=print", "--all", "--reflog")
    return set(shown.decode().replace("?", "").split())


def _modules(root: bytes) -> list[bytes]:
    """The stores of submodules, which stay when their work trees go."""
    found = (Path(os.fsdecode(root)) / ".git/modules").glob("**/HEAD")
    return [os.fsencode(path.parent) for path in found if (path.parent / "objects").is_dir()]


def _dangling(root: bytes) -> set[str]:
    """Commits that nothing leads to, such as a dropped stash."""
    lines = _git(root, "fsck", "--no-progress", "--connectivity-only", "--dangling").decode().splitlines()
    return {words[2] for words in map(str.split, lines) if words[:2] == ["dangling", "commit"]}


def _index(root: bytes) -> tuple[dict[tuple[int, bytes], tuple[str, str]], set[bytes]]:
    index: dict[tuple[int, bytes], tuple[str, str]] = {}
    unshown: set[bytes] = set()
    for line in _git(root, "ls-files", "-s", "-v", "-z").split(b"\0")[:-1]:
        facts, path = line.split(b"\t", 1)
        letter, mode, oid, stage = facts.decode().split()
        index[int(stage), path] = (mode, oid)
        if letter in "Ss":
            unshown.add(path)
    return {key: value for key, value in index.items() if value[1] != _EMPTY}, unshown


def _state(root: bytes) -> dict[str, bytes]:
    """The files of an operation in progress."""
    folder = Path(os.fsdecode(_git(root, "rev-parse", "--absolute-git-dir").rstrip(b"\n")))
    tops = [folder / name for name in _STATE]
    found = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def _ignored(root: bytes, prefix: bytes, roots: set[bytes], found: Holdings, bounds: Bounds) -> None:
    """What may be waived: ignored, untracked, below a folder that is made again; and whether too much is ignored."""
    room, at = bounds.ignored, prefix + b"/" if prefix else b""
    for path in _git(root, "ls-files", "-o", "-i", "--exclude-per-directory=.gitignore", "-z").split(b"\0")[:-1]:
        full = os.path.join(root, path)
        if {part.decode("latin-1") for part in path.split(b"/")} & set(bounds.waived):
            found.waivable.add(at + path)
        elif not any((at + path).startswith(other + b"/") for other in roots - {prefix} if other.startswith(at)):
            room -= os.lstat(full).st_size
            if room < 0:
                found.hurdles.add(at + path)
