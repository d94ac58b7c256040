"""Owns the judgement that a repository is only a clone: nothing in it is anybody's work, so a return may build on it.
It must not change anything; where it cannot tell, there is work."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

from pifleet.results.capture.terms import WAIVED
from pifleet.results.capture.tool import git
from pifleet.results.outgoing.inside.history import present
from pifleet.results.outgoing.inside.look import Seen

# State files that git leaves behind where no operation is in progress.
_IDLE = (b"ORIG_HEAD", b"AUTO_MERGE", b"lfs")
# What a clone keeps, or carries over, although no capture could tell all of it.
_KEPT = (*WAIVED, "ignored", "ref.namespace", "worktree.outside")
_HIDDEN = re.compile(rb"(?:^|\0)[a-zS] ")


def own_work(seen: Seen) -> str:
    """What of a repository is somebody's work, in words; "" for a clone that nobody has worked in."""
    have = seen.repository
    if not have.git_dir:
        return "git cannot read it"
    if os.path.exists(os.path.join(have.git_dir, b"commondir")):
        return "it is a linked worktree of another repository"
    if have.operation or any(path.split(b"/")[0] not in _IDLE for path, _ in have.state_files):
        return f"a {have.operation or 'merge'} is in progress in it"
    if have.stashes:
        return "it has stashes"
    if have.index is not None or have.unmerged:
        return "it has staged changes"
    if any(reason not in _KEPT for _, reason, _ in seen.notes):
        return "it holds something that cannot be read"
    if not have.bare and not _clean(seen):
        return "it has changes that are not committed"
    return ""


def own_commit(seen: Seen, git_dir: bytes, told: dict[str, Any]) -> str:
    """A commit of `seen` that neither its upstream nor the generation has; "" for none.

    `git_dir` holds both. What only a tag leads to came with the clone.
    """
    have = seen.repository
    branches = [oid for name, oid in have.refs.items() if not name.startswith("refs/tags/")]
    ours = present(git_dir, {have.head, *branches, *have.tips} - {""})  # without what only its submodules have
    given = {told["head"], *told["refs"].values(), *told["tips"], *told["stashes"]} - {""}
    asked = "".join([f"{oid}\n" for oid in ours] + [f"^{oid}\n" for oid in sorted(given)]).encode()
    return git(git_dir, "rev-list", "--max-count=1", "--stdin", "--not", "--remotes", "--tags",
               data=asked).decode().strip()


def _clean(seen: Seen) -> bool:
    """Byte for byte, or, where filters alter what is checked out, in git's own opinion."""
    have = seen.repository
    if seen.trees["snapshot"] == have.head_tree:
        return True
    if _HIDDEN.search(git(have.git_dir, "ls-files", "-v", "-z", tree=seen.root)):
        return False
    # With the user's own settings, for these say which filters there are.
    where = [b"--git-dir=" + have.git_dir, b"--work-tree=" + seen.root]
    asked = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=none")
    command: list[str | bytes] = ["git", "-c", "core.fsmonitor=false", "--no-optional-locks", *where, *asked]
    done = subprocess.run(command, cwd=seen.root, capture_output=True, check=False)
    return done.returncode == 0 and not done.stdout
