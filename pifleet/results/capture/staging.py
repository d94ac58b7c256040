"""Owns what a repository's index says: what is staged, in conflict or not shown on the disk, and what is ignored.
It must not read a file of the work tree. All is read from a copy, since git may write to an index it only looks at.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pifleet.results.capture.trees import EMPTY, Entry, nest

# Index entries that the work tree need not show: submodules, and what a sparse checkout leaves out (`ls-files -sv`).
_UNSHOWN = re.compile(rb"(?:^|\0)(?:[A-Za-z] (160000)|[Ss] (\d{6})) ([0-9a-f]{40}) 0\t([^\0]+)")
_STAGED = re.compile(rb"(?:^|\0)[A-Za-z?] (\d{6}) ([0-9a-f]{40}) 0\t([^\0]+)")
_UNMERGED = re.compile(rb"(?:^|\0)[A-Za-z?] \d{6} ([0-9a-f]{40}) ([123])\t([^\0]+)")
_CHANGE = re.compile(rb":\d{6} (\d{6}) [0-9a-f]{40} ([0-9a-f]{40}) ([A-Z])\d*\0[^\0]+\0")

Git = Callable[..., bytes]


class Staging(NamedTuple):
    whole: dict[bytes, Any] | None  # nested, see trees.nest; None where it is as HEAD
    staged: set[str]  # ids of its blobs that HEAD has not at their place
    unshown: dict[bytes, Entry]
    unmerged: list[tuple[int, str, bytes]]  # stage, blob, path


def staging(git: Git, root: bytes, index: bytes, head_tree: str) -> Staging:
    """`git` runs a command in the repository with the work tree `root`. (git write-tree would touch the repository.)"""
    listed = git("ls-files", "-s", "-v", "-z", tree=root, index=index)
    unshown = {path: (int(link or mode, 8), bytes.fromhex(oid.decode()))
               for link, mode, oid, path in _UNSHOWN.findall(listed)}
    conflict = any(b" %d\t" % stage in listed for stage in (1, 2, 3))
    unmerged = [(int(stage), oid.decode(), path)
                for oid, stage, path in (_UNMERGED.findall(listed) if conflict else ())]
    # Without the option git reads .gitmodules, which may be in conflict.
    asked = ("diff-index", "--cached", "--raw", "--no-renames", "--ignore-submodules=none", "-z")
    found = _CHANGE.findall(git(*asked, head_tree or EMPTY.hex(), tree=root, index=index))
    staged = {oid.decode() for mode, oid, what in found if what not in b"DU" and mode != b"160000"}
    nested = None
    if any(what != b"U" for _, _, what in found):
        nested = nest((path, (int(mode, 8), bytes.fromhex(oid.decode())))
                      for mode, oid, path in _STAGED.findall(listed))
    return Staging(nested, staged, unshown, unmerged)


def ignored(git: Git, root: bytes, index: bytes) -> set[bytes]:
    """Only rules that lie in the tree count, so that info/exclude or a user's own file cannot hide work."""
    asked = ("ls-files", "-o", "-i", "--directory", "-z", "--exclude-per-directory=.gitignore")
    return {path.rstrip(b"/") for path in git(*asked, tree=root, index=index).split(b"\0") if path}


@contextlib.contextmanager
def copied(index: bytes, git_dir: bytes, scratch: bytes) -> Iterator[bytes]:
    """A copy of an index. Git renews the time of the shared part of a split one whenever it reads it."""
    copy = os.path.join(scratch, b"index")
    if os.path.isfile(index):
        shutil.copyfile(index, copy)
    shared = [child for child in os.scandir(git_dir) if child.name.startswith(b"sharedindex.")]
    before = [(child.path, child.stat(follow_symlinks=False)) for child in shared]
    try:
        yield copy
    finally:
        for path, facts in before:
            with contextlib.suppress(OSError):
                os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns), follow_symlinks=False)
