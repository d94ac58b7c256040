"""Owns what a repository says about itself: HEAD, refs, index, stashes, lost commits, an operation in progress.
It must not write to the repository or read its work tree."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from pifleet.results.capture.tool import Broken, git

Entry = tuple[str, str, bytes]  # mode, object id, path
Note = tuple[bytes, str, int]  # path, reason, bytes

WAIVED = ("waived", "empty", "ref.name")  # reasons for which nothing is lost
# What home stores by name; the commits of all other refs travel as unnamed tips.
REF_NAME = re.compile(r"refs/(?:stash|(?:heads|tags|notes)(?:/(?![.-])[A-Za-z0-9._+@=-]+)+)")
REF_LENGTH = 200
OPERATIONS = {"MERGE_HEAD": "merge", "rebase-merge": "rebase", "rebase-apply": "rebase",
              "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert", "BISECT_LOG": "bisect"}
_STATE = (*OPERATIONS, "MERGE_MSG", "MERGE_MODE", "SQUASH_MSG", "REBASE_HEAD", "ORIG_HEAD", "AUTO_MERGE",
          "BISECT_START", "BISECT_TERMS", "BISECT_NAMES", "BISECT_EXPECTED_REV", "sequencer")
_STATE_BYTES = 16 << 20


def storable(name: str) -> bool:
    """Whether a ref of this name lands under its own name at home."""
    last = name.rpartition("/")[2]
    return bool(REF_NAME.fullmatch(name)) and len(name) <= REF_LENGTH and ".." not in name and "@{" not in name \
        and last != "HEAD" and not any(part.endswith((".lock", ".")) for part in name.split("/"))


class Repository:
    """One repository as read. An empty one stands for a plain tree."""

    def __init__(self) -> None:
        self.bare = False
        self.head_ref = self.head = self.operation = ""
        self.objects: list[bytes] = []
        self.refs: dict[str, str] = {}
        self.tips: set[str] = set()
        self.stashes: list[str] = []
        self.index: list[tuple[str, int, Entry]] = []  # the tag of `ls-files -v`, the stage, the entry
        self.committed: list[Entry] = []
        self.ignored: set[bytes] = set()
        self.state_files: dict[bytes, bytes] = {}
        self.notes: list[Note] = []

    @classmethod
    def read(cls, git_dir: bytes, root: bytes, bare: bool, workspace: bytes) -> Repository:
        """Raises Broken where git cannot make sense of it, or where home could not."""
        self = cls()
        self.bare = bare
        asked = ("--absolute-git-dir", "--git-path", "objects", "--show-object-format", "--is-shallow-repository")
        lines = git(git_dir, "rev-parse", *asked, tree=root).split(b"\n")
        if lines[2:] != [b"sha1", b"false", b""]:
            shallow = lines[2] == b"sha1"
            raise Broken("git.shallow" if shallow else "git.format", "a shallow clone" if shallow else repr(lines[2]))
        git_dir, objects = lines[0], os.path.join(root, lines[1])
        self.objects = [objects, *_relative_alternates(objects)]
        self.head_ref = git(git_dir, "symbolic-ref", "-q", "HEAD", may_fail=True).decode("latin-1").strip()
        self.head = git(git_dir, "rev-parse", "-q", "--verify", "HEAD^{commit}", may_fail=True).decode().strip()
        self._read_refs(git_dir)
        self._read_lost(git_dir)
        self._read_worktrees(git_dir, workspace)
        if not bare:
            self._read_index(git_dir, root)
            self._read_operation(git_dir)
        self.tips -= {self.head, *self.refs.values()}
        return self

    def _read_refs(self, git_dir: bytes) -> None:
        for line in git(git_dir, "for-each-ref", "--format=%(objectname) %(objecttype) %(refname)").splitlines():
            oid, kind, name = line.decode("latin-1").split(" ", 2)
            if storable(name):
                self.refs[name] = oid
                continue
            if kind == "commit":
                self.tips.add(oid)
            if not name.startswith("refs/remotes/"):
                self.notes.append((name.encode("latin-1"), "ref.name" if kind == "commit" else "ref.namespace", 0))

    def _read_lost(self, git_dir: bytes) -> None:
        """Stashes below the first, and what only a reflog remembers: the commits that lead to all others of those."""
        if "refs/stash" in self.refs:
            self.stashes = self._asked(git_dir, "rev-list", "-g", "refs/stash").decode().split()
        lines = self._asked(git_dir, "rev-list", "--parents", "--reflog", "--not", "--all").decode().splitlines()
        reached = {parent for line in lines for parent in line.split()[1:]}
        self.tips |= {line.split()[0] for line in lines} - reached | set(self.stashes)

    def _asked(self, git_dir: bytes, *args: str) -> bytes:
        """What a damaged log would not let git tell is missing from the capture, not the capture's end."""
        try:
            return git(git_dir, *args)
        except Broken:
            self.notes.append((f".git: {args[0]} {args[1]}".encode(), "git.connectivity", 0))
            return b""

    def _read_worktrees(self, git_dir: bytes, workspace: bytes) -> None:
        for field in self._asked(git_dir, "worktree", "list", "--porcelain", "-z").split(b"\0"):
            key, _, value = field.partition(b" ")
            if key == b"HEAD" and value.strip(b"0"):
                self.tips.add(value.decode())
            elif key == b"worktree" and not (value + b"/").startswith(workspace + b"/") and os.path.lexists(value):
                self.notes.append((value, "worktree.outside", 0))

    def _read_index(self, git_dir: bytes, root: bytes) -> None:
        for line in git(git_dir, "ls-files", "-s", "-v", "-z", tree=root).split(b"\0")[:-1]:
            facts, path = line.split(b"\t", 1)
            tag, mode, oid, stage = facts.decode().split()
            self.index.append((tag, int(stage), (mode, oid, path)))
        if self.head:
            for line in git(git_dir, "ls-tree", "-r", "-z", "--full-tree", self.head).split(b"\0")[:-1]:
                facts, path = line.split(b"\t", 1)
                mode, _, oid = facts.decode().split()
                self.committed.append((mode, oid, path))
        # Only rules that lie in the tree count, so that info/exclude or a user's own file cannot hide work.
        asked = ("ls-files", "-o", "-i", "--directory", "-z", "--exclude-per-directory=.gitignore")
        self.ignored = {path.rstrip(b"/") for path in git(git_dir, *asked, tree=root).split(b"\0") if path}

    def _read_operation(self, git_dir: bytes) -> None:
        for name in _STATE:
            for rel, full in _plain_files(os.path.join(git_dir, name.encode()), name.encode()):
                with open(full, "rb") as file:
                    self.state_files[b"git/" + rel] = file.read(_STATE_BYTES)
        begun = {path.split(b"/")[1].decode() for path in self.state_files}
        self.operation = next((word for name, word in OPERATIONS.items() if name in begun), "")
        ids = set(re.findall(rb"\b[0-9a-f]{40}\b", b"\n".join(self.state_files.values())))
        known = git(git_dir, "cat-file", "--batch-check", data=b"\n".join([*sorted(ids), b""])) if ids else b""
        self.tips |= {line.split()[0].decode() for line in known.splitlines() if line.split()[1] == b"commit"}
        for _, stage, (mode, oid, path) in self.index:
            if stage and mode != "160000":
                self.state_files[b"stages/%d/" % stage + path] = git(git_dir, "cat-file", "blob", oid)


def _relative_alternates(objects: bytes) -> Iterator[bytes]:
    """Git ignores relative alternates of a store that is itself borrowed, so these are named outright."""
    try:
        with open(os.path.join(objects, b"info", b"alternates"), "rb") as file:
            lines = file.read(1 << 20).splitlines()
    except OSError:
        return
    for line in lines:
        if line and not line.startswith((b"/", b"#", b'"')):
            yield os.path.normpath(os.path.join(objects, line))


def _plain_files(full: bytes, rel: bytes) -> Iterator[tuple[bytes, bytes]]:
    if os.path.islink(full):
        return
    if os.path.isdir(full):
        for name in sorted(os.listdir(full)):
            yield from _plain_files(os.path.join(full, name), rel + b"/" + name)
    elif os.path.isfile(full):
        yield rel, full
