"""Owns what a repository says about itself: HEAD, refs, stashes, lost commits, an operation in progress.
It must not write to the repository or read its work tree."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from pifleet.results.capture.gitdir import git_folders, mark_of, plain_files
from pifleet.results.capture.loose import Loose
from pifleet.results.capture.memory import UnitMemory
from pifleet.results.capture.staging import copied, ignored, staging
from pifleet.results.capture.terms import WAIVED, storable
from pifleet.results.capture.tool import Beside, Broken, git, quoted
from pifleet.results.capture.trees import EMPTY, Entry

Note = tuple[bytes, str, int]  # path, reason, bytes

_MODULES_DEPTH = 8
OPERATIONS = {"MERGE_HEAD": "merge", "rebase-merge": "rebase", "rebase-apply": "rebase",
              "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert", "BISECT_LOG": "bisect"}
STATE = (*OPERATIONS, "MERGE_MSG", "MERGE_MODE", "SQUASH_MSG", "REBASE_HEAD", "ORIG_HEAD", "AUTO_MERGE",
          "BISECT_START", "BISECT_TERMS", "BISECT_NAMES", "BISECT_EXPECTED_REV", "sequencer")
_NONE = b"/nonexistent"  # git reads, and so touches, an index also where it needs none
_NEW = re.compile(rb":\d{6} \d{6} [0-9a-f]{40} ([0-9a-f]{40}) [AMT]\0")


class Repository:
    """One repository as read. An empty one stands for a plain tree."""

    def __init__(self) -> None:
        self.bare = False
        self.git_dir = self.objects_folder = b""
        self.head_ref = self.head = self.head_tree = self.operation = ""
        self.refs: dict[str, str] = {}
        self.tips: set[str] = set()
        self.stashes: list[str] = []
        self.upstream: set[str] = set()  # what remote-tracking branches name; among the tips too
        self.env: dict[str, str] = {}  # with which git finds all objects
        self.index: dict[bytes, Any] | None = None  # nested, see trees.nest; None where it is as HEAD
        self.staged: set[str] = set()  # ids of its blobs that HEAD has not at their place
        self.unshown: dict[bytes, Entry] = {}
        self.unmerged: list[tuple[int, str, bytes]] = []  # stage, blob, path
        self.ignored: set[bytes] = set()
        self.state_files: list[tuple[bytes, bytes]] = []  # (relative to the git directory, full path)
        self.notes: list[Note] = []
        self.loose = Loose()
        self._root = self._index = self._refs = self._logged = b""
        self._mark, self._same, self._old = "", False, UnitMemory()
        self._loose: Beside | None = None  # what lies in its own objects, from when it is known where these are

    @classmethod
    def opened(cls, git_dir: bytes, root: bytes, bare: bool, old: UnitMemory, young: int) -> Repository:
        """What its names and logs lead to, where most of a history is; `complete` and `read_lost` read the rest.

        `old` is what was remembered. For `young` see gitdir.mark_of. Raises Broken where git, or home, cannot cope.
        """
        self = cls()
        self.bare, self._root, self._old, self._mark = bare, root, old, mark_of(git_dir, young)
        self._same = bool(self._mark) and self._mark == old.repository.get("mark")
        if self._same:
            self._remember(old)
        else:
            self._open(git_dir)
        return self

    @classmethod
    def unreadable(cls, why: Broken) -> Repository:
        """Stands for one that git, or home, cannot cope with: it comes as plain files, and a note says why."""
        self = cls()
        self.notes.append((b".git", why.reason, 0))
        return self

    def complete(self, workspace: bytes, scratch: bytes, renamed: Callable[[], bool]) -> None:
        """`renamed` is whether other names are in its work tree since. Raises Broken."""
        if self._same:
            self._read_state()
        else:
            self._read(workspace, scratch)
        if not self.bare:
            self.ignored = self._old.ignored if self._same and not renamed() else self._read_ignored(scratch)

    @property
    def wanted(self) -> set[str]:
        """Ids of all that it has, as far as it is read, and that leads to more."""
        return {self.head, *self.refs.values(), *self.tips, *self.staged} - {""}

    def _open(self, git_dir: bytes) -> None:
        asked = ("--absolute-git-dir", "--git-path", "objects", "--git-path", "index", "--show-object-format",
                 "--is-shallow-repository")
        lines = git(git_dir, "rev-parse", *asked, tree=self._root).split(b"\n")
        if lines[3:] != [b"sha1", b"false", b""]:
            shallow = lines[3] == b"sha1"
            raise Broken("git.shallow" if shallow else "git.format", "a shallow clone" if shallow else repr(lines[3]))
        self.git_dir, self.objects_folder, self._index = (os.path.join(self._root, line) for line in lines[:3])
        loose = self._old.loose
        self._loose = Beside(lambda: loose.again(os.fsdecode(self.objects_folder), self._git))
        self._read_head()
        self._read_modules()
        self._read_refs()
        if "refs/stash" in self.refs:
            self.stashes = self._asked("rev-list", "-g", "refs/stash").decode().split()
        self._logged = self._asked("rev-list", "--parents", "--reflog", "--not", "--all")
        self.tips |= _tips(self._logged) | set(self.stashes)

    def _read(self, workspace: bytes, scratch: bytes) -> None:
        self._read_worktrees(workspace)
        if not self.bare:
            self._read_index(scratch)
            self._read_operation()

    def told(self) -> dict[str, Any]:
        """What is to be remembered of its git directory: nothing while it may change unseen, or is in some middle."""
        lost = any(reason not in WAIVED for _, reason, _ in self.notes)
        if not self._mark or lost or self.index is not None or self.unmerged:
            return {}
        return {"mark": self._mark, "git_dir": self.git_dir.decode("latin-1"), "index": self._index.decode("latin-1"),
                "objects": self.objects_folder.decode("latin-1"),
                "head": [self.head_ref, self.head, self.head_tree], "refs": self.refs, "tips": sorted(self.tips),
                "stashes": self.stashes, "upstream": sorted(self.upstream), "env": self.env,
                "notes": [(path.decode("latin-1"), reason) for path, reason, _ in self.notes]}

    def _remember(self, old: UnitMemory) -> None:
        told = old.repository
        self.git_dir, self._index = told["git_dir"].encode("latin-1"), told["index"].encode("latin-1")
        self.objects_folder = told["objects"].encode("latin-1")
        self.head_ref, self.head, self.head_tree = told["head"]
        self.refs, self.tips, self.stashes, self.env = told["refs"], set(told["tips"]), told["stashes"], told["env"]
        self.upstream, self.unshown, self.loose = set(told["upstream"]), old.unshown, old.loose
        self.notes = [(path.encode("latin-1"), reason, 0) for path, reason in told["notes"]]

    def objects(self, since: str) -> set[bytes]:
        """Ids, folders' too, of all that HEAD's tree holds beyond the tree `since`, and of what is staged."""
        found = {bytes.fromhex(oid) for oid in self.staged}
        if self.head_tree not in ("", since):
            asked = ("diff-tree", "-r", "-t", "-z", "--raw", "--no-renames", "--ignore-submodules=none")
            listed = self._git(*asked, since, self.head_tree, may_fail=True, index=_NONE) if since else b""
            listed = listed or self._git(*asked, EMPTY.hex(), self.head_tree, index=_NONE)
            found.add(bytes.fromhex(self.head_tree))
            found.update(bytes.fromhex(new[1].decode()) for new in _NEW.finditer(listed))
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

    def _read_head(self) -> None:
        self.head_ref = self._git("symbolic-ref", "-q", "HEAD", may_fail=True).decode("latin-1").strip()
        asked = ("rev-parse", "HEAD^{commit}", "HEAD^{tree}")
        found = self._git(*asked, may_fail=True)
        if not found and self._git("rev-parse", "-q", "--verify", "HEAD", may_fail=True):
            found = self._git(*asked)  # not unborn, but lost: this says what
        if found:
            self.head, self.head_tree = found.decode().split()

    def _read_refs(self) -> None:
        self._refs = self._git("for-each-ref", "--format=%(objectname) %(objecttype) %(refname)")
        for line in self._refs.splitlines():
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

    def read_lost(self) -> None:
        """The commits that lead to all that nothing leads to. Git is at it since the repository was opened."""
        if self._loose is None:
            return
        loose = self._old.loose
        with self._noted("cat-file"):
            self.loose = self._loose.result()
        told = [self._refs.decode("latin-1"), self._logged.decode(), self.loose.places]
        self.loose.mark = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        if self.loose.mark == loose.mark:
            self.loose.lost = loose.lost
        else:
            asked = "".join(f"{oid}\n" for oid in self.loose.commits).encode()
            found = self._asked("rev-list", "--parents", "--stdin", "--not", "--all", "--reflog", data=asked)
            self.loose.lost = sorted(_tips(found))
        self.tips |= set(self.loose.lost)
        self.tips -= {self.head, *self.refs.values()}

    def _read_modules(self) -> None:
        """What submodules have that nobody checks out any more is only in here, so its commits are tips of ours."""
        modules = list(git_folders(os.path.join(self.git_dir, b"modules"), _MODULES_DEPTH))
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
        """The answer; nothing where there is none."""
        with self._noted(" ".join(args[:2])):
            return self._git(*args, data=data)
        return b""

    @contextlib.contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        """What a damaged log would not let git tell is missing from the capture, not the capture's end."""
        try:
            yield
        except Broken:
            self.notes.append((f".git: {what}".encode(), "git.connectivity", 0))

    def _read_worktrees(self, workspace: bytes) -> None:
        for field in self._asked("worktree", "list", "--porcelain", "-z").split(b"\0"):
            key, _, value = field.partition(b" ")
            if key == b"HEAD" and value.strip(b"0"):
                self.tips.add(value.decode())
            elif key == b"worktree" and not (value + b"/").startswith(workspace + b"/") and os.path.lexists(value):
                self.notes.append((value, "worktree.outside", 0))

    def _read_ignored(self, scratch: bytes) -> set[bytes]:
        with copied(self._index, self.git_dir, scratch) as copy:
            return ignored(self._git, self._root, copy)

    def _read_index(self, scratch: bytes) -> None:
        with copied(self._index, self.git_dir, scratch) as copy:
            self.index, self.staged, self.unshown, self.unmerged = staging(self._git, self._root, copy, self.head_tree)

    def _read_state(self) -> None:
        for name in (*STATE, "lfs/objects"):
            self.state_files += plain_files(os.path.join(self.git_dir, name.encode()), name.encode())
        begun = {path.split(b"/")[0].decode() for path, _ in self.state_files}
        self.operation = next((word for name, word in OPERATIONS.items() if name in begun), "")

    def _read_operation(self) -> None:
        """The commits that the files of an operation in progress name."""
        self._read_state()
        ids: set[bytes] = set()
        for path, full in self.state_files:
            if not path.startswith(b"lfs/"):
                with open(full, "rb") as file:
                    ids |= set(re.findall(rb"\b[0-9a-f]{40}\b", file.read(1 << 20)))
        known = self._git("cat-file", "--batch-check", data=b"\n".join([*sorted(ids), b""])) if ids else b""
        self.tips |= {line.split()[0].decode() for line in known.splitlines() if line.split()[1] == b"commit"}


def _tips(shown: bytes) -> set[str]:
    """The commits of a `rev-list --parents` that none of the others has as its parent."""
    lines = [line.split() for line in shown.decode().splitlines()]
    return {line[0] for line in lines} - {parent for line in lines for parent in line[1:]}
