"""Owns what happens in a sandbox by git: commits, branches, stashes, operations left half done, odd repositories.
It must not care whether a command succeeds: a conflict, or a refusal, is a state like any other."""

from __future__ import annotations

from pathlib import Path

from tests.results.agent import Agent
from tests.results.box import git
from tests.results.file_acts import Act

_BRANCHES = ("main", "one", "two", "feat/x", "it's", "ünï", "-dash")
UNNAMED = "odd'tag"  # git takes it, home has no name like it
_TAGS = ("v1", "v2", "light", UNNAMED)


def _branch(agent: Agent) -> str:
    return agent.chance.choice(_BRANCHES)


def _commit_of(agent: Agent, root: Path) -> str:
    """Some commit that a ref or a log leads to."""
    return agent.chance.choice(agent.asked(root, "rev-list", "--all", "--reflog") or ["HEAD"])


def add(agent: Agent) -> None:
    root = agent.repository()
    agent.git(root, "add", "-A", *(["--", agent.file(root).name] if agent.chance.random() < 0.3 else []))


def commit(agent: Agent) -> None:
    root = agent.repository()
    agent.git(root, "add", "-A")
    agent.git(root, "commit", "-q", "-m", f"change {agent.chance.randrange(1000)}")


def commit_staged(agent: Agent) -> None:
    agent.git(agent.repository(), "commit", "-q", "--allow-empty", "-m", "staged")


def amend(agent: Agent) -> None:
    agent.git(agent.repository(), "commit", "-q", "-a", "--amend", "-m", f"amended {agent.chance.randrange(1000)}")


def branch(agent: Agent) -> None:
    root = agent.repository()
    agent.git(root, "update-ref", f"refs/heads/{_branch(agent)}", _commit_of(agent, root))


def checkout(agent: Agent) -> None:
    force = ["-f"] if agent.chance.random() < 0.3 else []
    agent.git(agent.repository(), "checkout", "-q", *force, _branch(agent), "--")


def checkout_new(agent: Agent) -> None:
    agent.git(agent.repository(), "checkout", "-q", "-b", f"new{agent.chance.randrange(50)}")


def detach(agent: Agent) -> None:
    root = agent.repository()
    agent.git(root, "checkout", "-q", "-f", "--detach", _commit_of(agent, root))


def orphan(agent: Agent) -> None:
    agent.git(agent.repository(), "checkout", "-q", "--orphan", f"orphan{agent.chance.randrange(50)}")


def delete_branch(agent: Agent) -> None:
    agent.git(agent.repository(), "branch", "-D", "--", _branch(agent))


def tag(agent: Agent) -> None:
    root, name = agent.repository(), agent.chance.choice(_TAGS)
    wanted = agent.chance.choice(["HEAD", "HEAD^{tree}", "HEAD:README.md"])
    agent.git(root, "tag", "-f", *(["-a", "-m", "note"] if agent.chance.random() < 0.5 else []), name, wanted)


def delete_tag(agent: Agent) -> None:
    agent.git(agent.repository(), "tag", "-d", agent.chance.choice(_TAGS))


def note(agent: Agent) -> None:
    agent.git(agent.repository(), "notes", "add", "-f", "-m", f"n{agent.chance.randrange(100)}")


def odd_ref(agent: Agent) -> None:
    """Refs that git allows and home has no name for."""
    root = agent.repository()
    names = ["refs/pull/1/head", "refs/original/refs/heads/main", "refs/heads/HEAD", "refs/remotes/o/x"]
    agent.git(root, "update-ref", agent.chance.choice(names), _commit_of(agent, root))


def replace(agent: Agent) -> None:
    agent.git(agent.repository(), "replace", "-f", "HEAD", "HEAD~1")


def stash(agent: Agent) -> None:
    agent.git(agent.repository(), "stash", "push", "-q", *(["-u"] if agent.chance.random() < 0.5 else []))


def stash_pop(agent: Agent) -> None:
    agent.git(agent.repository(), "stash", "pop", "-q")


def stash_drop(agent: Agent) -> None:
    agent.git(agent.repository(), "stash", "drop", "-q", f"stash@{{{agent.chance.randrange(3)}}}")


def merge(agent: Agent) -> None:
    agent.git(agent.repository(), "merge", "-q", "--allow-unrelated-histories", "-m", "merged", _branch(agent))


def rebase(agent: Agent) -> None:
    how = agent.chance.choice(["--merge", "--apply", "--autostash"])
    agent.git(agent.repository(), "rebase", "-q", how, _branch(agent))


def cherry_pick(agent: Agent) -> None:
    root = agent.repository()
    agent.git(root, "cherry-pick", _commit_of(agent, root), _commit_of(agent, root))


def revert(agent: Agent) -> None:
    root = agent.repository()
    agent.git(root, "revert", "--no-edit", _commit_of(agent, root))


def conflict(agent: Agent) -> None:
    """Two sides that cannot be joined, and one of the ways to try it."""
    root, ours, theirs = agent.repository(), f"ours{agent.chance.randrange(99)}", f"theirs{agent.chance.randrange(99)}"
    for name in (theirs, ours):
        agent.git(root, "checkout", "-q", "-f", "-B", name, "HEAD")
        path = root / "clash"
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            path.write_text(f"{name} {agent.chance.randrange(1000)}\n")
        agent.git(root, "add", "clash")
        agent.git(root, "commit", "-q", "-m", name)
        if name == theirs:
            agent.git(root, "checkout", "-q", "-f", "-B", ours, "HEAD~1")
    ways = [("merge", "-q"), ("rebase", "-q"), ("rebase", "-q", "--apply"), ("cherry-pick",)]
    agent.git(root, *agent.chance.choice(ways), theirs)


def go_on(agent: Agent) -> None:
    root, operation = agent.repository(), agent.chance.choice(["rebase", "merge", "cherry-pick", "revert"])
    agent.git(root, "add", "-A")
    agent.git(root, operation, agent.chance.choice(["--continue", "--abort", "--quit", "--skip"]))


def bisect(agent: Agent) -> None:
    root = agent.repository()
    agent.git(root, "bisect", agent.chance.choice(["start", "bad", "reset"]))


def reset(agent: Agent) -> None:
    root = agent.repository()
    agent.git(root, "reset", "-q", agent.chance.choice(["--hard", "--soft", "--mixed"]),
              agent.chance.choice(["HEAD", "HEAD~1", _commit_of(agent, root)]))


def move(agent: Agent) -> None:
    root = agent.repository()
    target = agent.new_path(root)
    agent.git(root, "mv", "-f", "--", str(agent.file(root).relative_to(root)), str(target.relative_to(root)))


def only_in_index(agent: Agent) -> None:
    root = agent.repository()
    path = agent.write(agent.new_path(root))
    agent.git(root, "add", "-f", "--", str(path.relative_to(root)))
    path.unlink()


def staged_then_changed(agent: Agent) -> None:
    root = agent.repository()
    path = agent.write(agent.file(root))
    agent.git(root, "add", "-f", "--", str(path.relative_to(root)))
    agent.write(path)


def intend_to_add(agent: Agent) -> None:
    root = agent.repository()
    agent.git(root, "add", "-N", "--", str(agent.write(agent.new_path(root)).relative_to(root)))


def hide(agent: Agent) -> None:
    root = agent.repository()
    path = agent.file(root)
    flag = agent.chance.choice(["--assume-unchanged", "--skip-worktree", "--no-assume-unchanged", "--no-skip-worktree"])
    agent.git(root, "update-index", flag, "--", str(path.relative_to(root)))
    agent.write(path)


def mode_in_index(agent: Agent) -> None:
    root = agent.repository()
    agent.git(root, "update-index", "--chmod=+x", "--", str(agent.file(root).relative_to(root)))


def sparse(agent: Agent) -> None:
    agent.git(agent.repository(), "sparse-checkout", *agent.chance.choice([("set", "src"), ("disable",)]))


def configure(agent: Agent) -> None:
    settings = ("core.autocrlf=true", "core.trustctime=false", "core.filemode=false", "core.quotepath=false",
                "filter.shout.clean=tr a-z A-Z", "core.splitIndex=true", "index.version=4", "core.untrackedCache=true")
    agent.git(agent.repository(), "config", *agent.chance.choice(settings).split("=", 1))


def nested(agent: Agent) -> None:
    inner = agent.repository() / f"nested{agent.chance.randrange(100)}"
    if not inner.exists():
        inner.mkdir()
        agent.git(inner, "init", "-q", "-b", "main")
        agent.write(inner / "README.md")
        if agent.chance.random() < 0.7:
            agent.git(inner, "add", "-A")
            agent.git(inner, "commit", "-q", "-m", "inner")


def workspace_becomes_repository(agent: Agent) -> None:
    agent.git(agent.box.workspace, "init", "-q", "-b", "main")


def submodule(agent: Agent) -> None:
    origin = agent.box.base / "origin"
    if not origin.exists():
        origin.mkdir()
        git(origin, "init", "-q", "-b", "main")
        agent.box.commit("README.md", "sub\n", origin)
    agent.git(agent.repository(), "submodule", "--quiet", "add", str(origin), f"sub{agent.chance.randrange(4)}")


def submodule_leaves(agent: Agent) -> None:
    name = f"sub{agent.chance.randrange(4)}"
    ways = [("rm", "-q", "-f"), ("submodule", "deinit", "-q", "-f")]
    agent.git(agent.repository(), *agent.chance.choice(ways), name)


def worktree(agent: Agent) -> None:
    path = agent.box.workspace / f"side{agent.chance.randrange(1000)}"
    detached = ["--detach"] if agent.chance.random() < 0.4 else []
    agent.git(agent.repository(), "worktree", "add", "-q", *detached, str(path))


def worktree_leaves(agent: Agent) -> None:
    sides = sorted(agent.box.workspace.glob("side*"))
    if sides:
        agent.git(agent.box.api, "worktree", "remove", "--force", str(agent.chance.choice(sides)))


def bare_copy(agent: Agent) -> None:
    agent.git(agent.box.workspace, "clone", "-q", "--bare", "api", f"copy{agent.chance.randrange(100)}.git")


def tidy(agent: Agent) -> None:
    forget = ("reflog", "expire", "--all", "--expire=now")
    ways = [("gc", "-q"), ("repack", "-q", "-a", "-d"), ("pack-refs", "--all"), forget]
    agent.git(agent.repository(), *agent.chance.choice(ways))


ACTS: dict[Act, int] = {
    add: 4, commit: 12, commit_staged: 3, amend: 3, branch: 4, checkout: 5, checkout_new: 3, detach: 2, orphan: 1,
    delete_branch: 3, tag: 2, delete_tag: 1, note: 1, odd_ref: 1, replace: 1, stash: 6, stash_pop: 3, stash_drop: 2,
    merge: 3, rebase: 3, cherry_pick: 2, revert: 2, conflict: 5, go_on: 3, bisect: 1, reset: 4, move: 2,
    only_in_index: 3, staged_then_changed: 3, intend_to_add: 1, hide: 2, mode_in_index: 1, sparse: 1, configure: 2,
    nested: 3, workspace_becomes_repository: 1, submodule: 3, submodule_leaves: 1, worktree: 3, worktree_leaves: 1,
    bare_copy: 1, tidy: 3,
}
