"""Owns what a repository says about itself: HEAD, refs, index, stashes, lost commits, an operation in progress.
It must not write to the repository or read its work tree."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

from pifleet.results.capture.loose import Loose
from pifleet.results.capture.tool import Broken, git, quoted
from pifleet.results.capture.trees import EMPTY, nest

Note = tuple[bytes, str, int]  # path, reason, bytes

WAIVED = ("waived", "empty", "ref.name")  # reasons for which nothing is lost
# What home stores by name; the commits of all other refs travel as unnamed tips.
REF_NAME = re.compile(r"refs/(?:stash|(?:heads|tags|notes)(?:/(?![.-])[A-Za-z0-9._+@=-]+)+)")
REF_LENGTH = 200
_MODULES_DEPTH = 8
OPERATIONS = {"MERGE_HEAD": "merge", "rebase-merge": "rebase", "rebase-apply": "rebase",
              "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert", "BISECT_LOG": "bisect"}
STATE = (*OPERATIONS, "MERGE_MSG", "MERGE_MODE", "SQUASH_MSG", "REBASE_HEAD", "ORIG_HEAD", "AUTO_MERGE",
          "BISECT_START", "BISECT_TERMS", "BISECT_NAMES", "BISECT_EXPECTED_REV", "sequencer")
# Index entries that the work tree need not show: submodules, and what a sparse checkout leaves out (`ls-files -sv`).
_UNSHOWN = re.compile(rb"(?:^|\0)(?:[A-Za-z] (160000)|[Ss] (\d{6})) ([0-9a-f]{40}) 0\t([^\0]+)")
_STAGED = re.compile(rb"(?:^|\0)[A-Za-z?] (\d{6}) ([0-9a-f]{40}) 0\t([^\0]+)")
_CHANGE = re.compile(rb":\d{6} (\d{6}) [0-9a-f]{40} ([0-9a-f]{40}) ([A-Z])\d*\0[^\0]+\0")
_LISTED = re.compile(rb"(?:^|\0)[^\t\0]*?([0-9a-f]{40})\t")


def storable(name: str) -> bool:
    """Whether a ref of this name lands under its own name at home."""
    last = name.rpartition("/")[2]
    return bool(REF_NAME.fullmatch(name)) and len(name) <= REF_LENGTH and ".." not in name and "@{" not in name \
        and last != "HEAD" and not any(part.endswith((".lock", ".")) for part in name.split("/"))


class Repository:
    """One repository as read. An empty one stands for a plain tree."""

    def __init__(self) -> None:
        self.bare = False
        self.git_dir = b""
        self.head_ref = self.head = self.head_tree = self.operation = ""
        self.refs: dict[str, str] = {}
        self.tips: set[str] = set()
        self.stashes: list[str] = []
        self.upstream: set[str] = set()  # what remote-tracking branches name; among the tips too
        self.env: dict[str, str] = {}  # with which git finds all objects
        self.index: dict[bytes, Any] | None = None  # nested, see trees.nest; None where it is as HEAD
        self.staged: set[str] = set()  # ids of its blobs that HEAD has not at their place
        self.unshown: dict[bytes, Any] = {}  # nested, see trees.nest
        self.unmerged: list[tuple[int, str, bytes]] = []  # stage, blob, path
        self.ignored: set[bytes] = set()
        self.state_files: list[tuple[bytes, bytes]] = []  # (relative to the git directory, full path)
        self.notes: list[Note] = []
        self.loose = Loose()
        self._root = b""

    @classmethod
    def read(cls, git_dir: bytes, root: bytes, bare: bool, workspace: bytes, scratch: bytes,
             loose: Loose) -> Repository:
        """`loose` is what was seen of its loose objects before. Raises Broken where git, or home, cannot cope."""
        self = cls()
        self.bare, self._root = bare, root
        asked = ("--absolute-git-dir", "--git-path", "objects", "--git-path", "index", "--show-object-format",
                 "--is-shallow-repository")
        lines = git(git_dir, "rev-parse", *asked, tree=root).split(b"\n")
        if lines[3:] != [b"sha1", b"false", b""]:
            shallow = lines[3] == b"sha1"
            raise Broken("git.shallow" if shallow else "git.format", "a shallow clone" if shallow else repr(lines[3]))
        self.git_dir, objects, index = lines[0], os.path.join(root, lines[1]), os.path.join(root, lines[2])
        self.head_ref = self._git("symbolic-ref", "-q", "HEAD", may_fail=True).decode("latin-1").strip()
        self.head = self._git("rev-parse", "-q", "--verify", "HEAD^{commit}", may_fail=True).decode().strip()
        if self.head:
            self.head_tree = self._git("rev-parse", f"{self.head}^{{tree}}").decode().strip()
        refs = self._git("for-each-ref", "--format=%(objectname) %(objecttype) %(refname)")
        self._read_modules()
        self._read_refs(refs)
        self._read_lost(refs, loose, objects)
        self._read_worktrees(workspace)
        if not bare:
            self._read_index(index, scratch)
            self._read_operation()
        self.tips -= {self.head, *self.refs.values()}
        return self

    def objects(self) -> set[bytes]:
        """Ids of all that HEAD's tree holds, folders too, and of what is staged: these travel with the history."""
        found = {bytes.fromhex(oid) for oid in self.staged}
        if self.head_tree:
            listed = self._git("ls-tree", "-r", "-t", "-z", "--full-tree", self.head_tree)
            found |= {bytes.fromhex(oid.decode()) for oid in (self.head_tree.encode(), *_LISTED.findall(listed))}
        return found

    def tracked(self, path: bytes) -> bool:
        """Whether the index holds something below `path`."""
        return not self.bare and bool(self._git("--literal-pathspecs", "ls-files", "-z", "--", path, tree=self._root))

    def blob(self, oid: str) -> bytes:
        return self._git("cat-file", "blob", oid)

    def _git(self, *args: str | bytes, data: bytes = b"", tree: bytes = b"", may_fail: bool = False, index: bytes = b"",
             ) -> bytes:
        env = {**self.env, "GIT_INDEX_FILE": os.fsdecode(index)} if index else self.env
        return git(self.git_dir, *args, data=data, tree=tree, may_fail=may_fail, env=env)

    def _read_refs(self, shown: bytes) -> None:
        for line in shown.splitlines():
            oid, kind, name = line.decode("latin-1").split(" ", 2)
            if storable(name):
                self.refs[name] = oid
                continue
            if kind == "commit":
                self.tips.add(oid)
            if name.startswith("refs/remotes/"):
                self.upstream |= {oid} if kind == "commit" else set()
            else:
                self.notes.append((name.encode("latin-1"), "ref.name" if kind == "commit" else "ref.namespace", 0))

    def _read_lost(self, refs: bytes, loose: Loose, objects: bytes) -> None:
        """Stashes below the first, and the commits that lead to all that only a reflog, or nothing, leads to."""
        if "refs/stash" in self.refs:
            self.stashes = self._asked("rev-list", "-g", "refs/stash").decode().split()
        logged = self._asked("rev-list", "--parents", "--reflog", "--not", "--all")
        self.loose = loose.again(os.fsdecode(objects), self._asked)
        told = [refs.decode("latin-1"), logged.decode(), self.loose.places]
        self.loose.mark = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        if self.loose.mark == loose.mark:
            self.loose.lost = loose.lost
        else:
            asked = "".join(f"{oid}\n" for oid in self.loose.commits).encode()
            found = self._asked("rev-list", "--parents", "--stdin", "--not", "--all", "--reflog", data=asked)
            self.loose.lost = sorted(_tips(found))
        self.tips |= _tips(logged) | set(self.loose.lost) | set(self.stashes)

    def _read_modules(self) -> None:
        """What submodules have that nobody checks out any more is only in here, so its commits are tips of ours."""
        modules = list(_git_folders(os.path.join(self.git_dir, b"modules"), _MODULES_DEPTH))
        lenders = [os.path.join(module, b"objects") for module in modules]
        if lenders:
            self.env = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": ":".join(os.fsdecode(quoted(path)) for path in lenders)}
        for module in modules:
            try:
                # A tree is named because its own, which its configuration names, may be gone.
                shown = git(module, "rev-list", "--no-walk", "--all", "--reflog", tree=module)
                self.tips |= set(shown.decode().split())
            except Broken:
                self.notes.append((b".git/" + os.path.relpath(module, self.git_dir), "git.broken", 0))

    def _asked(self, *args: str, data: bytes = b"") -> bytes:
        """What a damaged log would not let git tell is missing from the capture, not the capture's end."""
        try:
            return self._git(*args, data=data)
        except Broken:
            self.notes.append((f".git: {args[0]} {args[1]}".encode(), "git.connectivity", 0))
            return b""

    def _read_worktrees(self, workspace: bytes) -> None:
        for field in self._asked("worktree", "list", "--porcelain", "-z").split(b"\0"):
            key, _, value = field.partition(b" ")
            if key == b"HEAD" and value.strip(b"0"):
                self.tips.add(value.decode())
            elif key == b"worktree" and not (value + b"/").startswith(workspace + b"/") and os.path.lexists(value):
                self.notes.append((value, "worktree.outside", 0))

    def _read_index(self, index: bytes, scratch: bytes) -> None:
        """All of it is read from a copy, since git may write to an index that it only looks at."""
        copy = os.path.join(scratch, b"index")
        if os.path.isfile(index):
            shutil.copyfile(index, copy)
        with _same_times(self.git_dir):
            self._read_copy(copy)

    def _read_copy(self, copy: bytes) -> None:
        listed = self._git("ls-files", "-s", "-v", "-z", tree=self._root, index=copy)
        self.unshown = nest((path, (int(link or mode, 8), bytes.fromhex(oid.decode())))
                            for link, mode, oid, path in _UNSHOWN.findall(listed))
        # Only rules that lie in the tree count, so that info/exclude or a user's own file cannot hide work.
        asked = ("ls-files", "-o", "-i", "--directory", "-z", "--exclude-per-directory=.gitignore")
        shown = self._git(*asked, tree=self._root, index=copy)
        self.ignored = {path.rstrip(b"/") for path in shown.split(b"\0") if path}
        for line in self._git("ls-files", "-u", "-z", index=copy, tree=self._root).split(b"\0")[:-1]:
            facts, path = line.split(b"\t", 1)
            _, oid, stage = facts.decode().split()
            self.unmerged.append((int(stage), oid, path))
        self._read_staged(listed, copy)

    def _read_staged(self, listed: bytes, index: bytes) -> None:
        """The whole index as folders, where it differs from HEAD. (git write-tree would touch the repository.)"""
        against = self.head_tree or EMPTY.hex()
        # Without the option git reads .gitmodules, which may be in conflict.
        asked = ("diff-index", "--cached", "--raw", "--no-renames", "--ignore-submodules=none", "-z", against)
        changes = self._git(*asked, tree=self._root, index=index)
        found = _CHANGE.findall(changes)
        self.staged = {oid.decode() for mode, oid, what in found if what not in b"DU" and mode != b"160000"}
        if any(what != b"U" for _, _, what in found):
            self.index = nest((path, (int(mode, 8), bytes.fromhex(oid.decode())))
                              for mode, oid, path in _STAGED.findall(listed))

    def _read_operation(self) -> None:
        for name in (*STATE, "lfs/objects"):
            self.state_files += _plain_files(os.path.join(self.git_dir, name.encode()), name.encode())
        begun = {path.split(b"/")[0].decode() for path, _ in self.state_files}
        self.operation = next((word for name, word in OPERATIONS.items() if name in begun), "")
        ids: set[bytes] = set()
        for path, full in self.state_files:
            if not path.startswith(b"lfs/"):
                with open(full, "rb") as file:
                    ids |= set(re.findall(rb"\b[0-9a-f]{40}\b", file.read(1 << 20)))
        known = self._git("cat-file", "--batch-check", data=b"\n".join([*sorted(ids), b""])) if ids else b""
        self.tips |= {line.split()[0].decode() for line in known.splitlines() if line.split()[1] == b"commit"}


@contextlib.contextmanager
def _same_times(git_dir: bytes) -> Iterator[None]:
    """Git renews the time of the shared part of a split index whenever it reads it."""
    shared = [child for child in os.scandir(git_dir) if child.name.startswith(b"sharedindex.")]
    before = [(child.path, child.stat(follow_symlinks=False)) for child in shared]
    try:
        yield
    finally:
        for path, facts in before:
            with contextlib.suppress(OSError):
                os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns), follow_symlinks=False)


def _tips(shown: bytes) -> set[str]:
    """The commits of a `rev-list --parents` that none of the others has as its parent."""
    lines = [line.split() for line in shown.decode().splitlines()]
    return {line[0] for line in lines} - {parent for line in lines for parent in line[1:]}


def _git_folders(folder: bytes, depth: int) -> Iterator[bytes]:
    """Every folder below (not through links) that git would take for a repository."""
    try:
        children = [child for child in os.scandir(folder) if child.is_dir(follow_symlinks=False)]
    except OSError:
        return
    if {b"objects", b"refs"} <= {child.name for child in children}:
        yield folder
    elif depth:
        for child in children:
            yield from _git_folders(child.path, depth - 1)
    if {b"objects", b"refs", b"modules"} <= {child.name for child in children} and depth:
        yield from _git_folders(os.path.join(folder, b"modules"), depth - 1)


def _plain_files(full: bytes, rel: bytes) -> Iterator[tuple[bytes, bytes]]:
    if os.path.islink(full):
        return
    if os.path.isdir(full):
        for name in sorted(os.listdir(full)):
            yield from _plain_files(os.path.join(full, name), rel + b"/" + name)
    elif os.path.isfile(full):
        yield rel, full
