"""What lies in the place of a returning unit: a clone is built upon, work of somebody's is never harmed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.results.box import Box, everything, files, git
from tests.results.pair import Pair, leftovers, results, status
from tests.results.test_capture import conflict, linked_worktree, nested, submodule


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Generation 1 holds a change that is not committed; a fresh clone waits for it."""
    pair = Pair(tmp_path)
    (pair.old.api / "README.md").write_text("changed\n")
    pair.old.pull()
    pair.clone()
    return pair


def changed(box: Box) -> None:
    (box.api / "README.md").write_text("mine\n")


def hidden(box: Box) -> None:
    git(box.api, "update-index", "--assume-unchanged", "README.md")
    changed(box)


def untracked(box: Box) -> None:
    (box.api / "mine.txt").write_text("mine\n")


def staged(box: Box) -> None:
    changed(box)
    git(box.api, "add", ".")
    (box.api / "README.md").write_text("hello\n")


def stashed(box: Box) -> None:
    changed(box)
    git(box.api, "stash", "-q")


def committed(box: Box) -> None:
    box.commit("mine.txt", "mine\n")


def committed_and_left(box: Box) -> None:
    committed(box)
    git(box.api, "reset", "-q", "--hard", "HEAD~1")


def merging(box: Box) -> None:
    conflict(box)
    git(box.api, "merge", "-q", "-s", "ours", "--no-commit", "other")
    git(box.api, "checkout", "-q", "HEAD", "--", ".")


def no_repository(box: Box) -> None:
    (box.api / ".git").rename(box.base / "gone")


def a_file(box: Box) -> None:
    box.api.rename(box.base / "gone")
    box.api.write_text("mine\n")


def broken(box: Box) -> None:
    (box.api / ".git/HEAD").write_text("nonsense\n")


WORK = {changed: "changes that are not committed", hidden: "changes that are not committed",
        untracked: "changes that are not committed", staged: "staged changes", stashed: "stashes",
        committed: "a commit of its own", committed_and_left: "a commit of its own", merging: "a merge is in progress",
        no_repository: "a folder that is not empty", a_file: "there is a file", broken: "git cannot read it"}


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_work_in_the_place_stays_untouched_and_the_unit_is_refused(pair: Pair, work: Callable[[Box], None]) -> None:
    work(pair.new)
    before = everything(pair.new.workspace)
    done = pair.back()
    assert results(done) == {"api": "refused", "sessions": "restored", "workspace": "equal"}
    assert WORK[work] in done.units[0].reason
    assert not done.complete
    assert everything(pair.new.workspace) == before


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_with_force_it_is_moved_aside_whole(pair: Pair, work: Callable[[Box], None]) -> None:
    work(pair.new)
    before = everything(pair.new.workspace)
    done = pair.back(force=True)
    assert done.complete
    aside = pair.new.workspace / "api.before-generation-1"
    assert done.units[0].aside == aside.name
    assert (pair.new.api / "README.md").read_text() == "changed\n"
    kept = {"api" + path.removeprefix(aside.name): facts for path, facts in everything(pair.new.workspace).items()
            if path.startswith(aside.name)}
    assert kept == before
    changed(pair.new)
    assert pair.back(force=True).units[0].aside == aside.name + "-2"
    assert leftovers(pair.new) == []


def test_a_clone_keeps_its_settings_its_hooks_and_what_is_made_again(pair: Pair) -> None:
    git(pair.new.api, "config", "user.name", "somebody")
    (pair.new.api / ".git/hooks").mkdir(exist_ok=True)
    (pair.new.api / ".git/hooks/pre-push").write_text("#!/bin/sh\n")
    (pair.new.api / ".git/info/exclude").write_text("")
    done = pair.back()
    assert (results(done)["api"], done.units[0].fresh, done.units[0].aside) == ("restored", False, "")
    assert git(pair.new.api, "config", "user.name") == b"somebody"
    assert git(pair.new.api, "remote", "get-url", "origin").decode() == str(pair.upstream)
    assert (pair.new.api / ".git/hooks/pre-push").exists()
    git(pair.new.api, "fetch", "-q")
    assert sorted(path.name for path in pair.new.workspace.iterdir()) == ["api"]


def test_a_repository_made_new_says_that_it_has_no_settings(pair: Pair) -> None:
    pair.new.api.rename(pair.new.base / "gone")
    assert pair.back().units[0].fresh
    assert git(pair.new.api, "remote") == b""


def test_what_git_ignores_in_a_clone_and_repositories_inside_it_are_carried_over(pair: Pair) -> None:
    box = Box.at(pair.new.base)
    (pair.old.api / ".gitignore").write_text("node_modules/\nvendor/\n*.log\n")
    git(pair.old.api, "add", ".")
    git(pair.old.api, "commit", "-q", "-m", "all")
    git(pair.old.api, "push", "-q", str(pair.upstream), "main")
    (pair.old.api / "work.txt").write_text("work\n")
    (pair.old.api / "same.log").write_text("same\n")
    pair.old.pull()
    git(box.api, "pull", "-q", "--ff-only")
    nested(box)
    (box.api / "node_modules/x").mkdir(parents=True)
    (box.api / "node_modules/x/i.js").write_text("x\n")
    (box.api / "same.log").write_text("same\n")
    (box.api / "own.log").write_text("own\n")
    assert results(pair.back())["api"] == "restored"
    assert files(box.api).keys() >= {"work.txt", "own.log", "same.log", "node_modules/x/i.js", "vendor/inner/dirty.txt"}
    assert git(box.api / "vendor/inner", "status", "--porcelain") == b"?? dirty.txt"
    assert leftovers(box) == []


def test_an_ignored_file_that_differs_from_the_stored_one_refuses(pair: Pair) -> None:
    (pair.old.api / ".gitignore").write_text("*.log\n")
    git(pair.old.api, "add", ".")
    git(pair.old.api, "commit", "-q", "-m", "all")
    git(pair.old.api, "push", "-q", str(pair.upstream), "main")
    (pair.old.api / "a.log").write_text("stored\n")
    pair.old.pull()
    git(pair.new.api, "pull", "-q", "--ff-only")
    (pair.new.api / "a.log").write_text("mine\n")
    done = pair.back()
    assert (done.units[0].result, "a.log" in done.units[0].reason) == ("refused", True)
    assert (pair.new.api / "a.log").read_text() == "mine\n"
    assert leftovers(pair.new) == []


def test_an_older_state_of_the_same_work_is_brought_forward(pair: Pair) -> None:
    git(pair.old.api, "commit", "-qam", "first")
    pair.old.pull()
    assert pair.back().complete
    pair.old.commit("second.txt", "second\n")
    git(pair.old.api, "branch", "side")
    pair.old.pull()
    done = pair.back()
    assert (results(done)["api"], done.units[0].fresh) == ("restored", False)
    assert pair.differences(3) == []


def test_a_clone_that_filters_alter_is_still_a_clone(pair: Pair) -> None:
    (pair.old.api / ".gitattributes").write_text("*.md text eol=crlf\n")
    (pair.old.api / "README.md").write_bytes(b"hello\r\n")
    git(pair.old.api, "add", "--renormalize", ".")
    git(pair.old.api, "add", ".gitattributes")
    git(pair.old.api, "commit", "-q", "-m", "endings")
    git(pair.old.api, "push", "-q", str(pair.upstream), "main")
    (pair.old.api / "work.txt").write_text("work\n")
    pair.old.pull()
    pair.new.api.rename(pair.new.base / "gone")
    pair.clone()
    assert (pair.new.api / "README.md").read_bytes() == b"hello\r\n"
    assert results(pair.back())["api"] == "restored"
    assert status(pair.new) == {"api": b"? work.txt"}


def test_a_submodule_of_a_clone_becomes_a_repository_with_the_stored_work(pair: Pair) -> None:
    git(pair.old.api, "checkout", "-q", "README.md")
    submodule(pair.old)
    git(pair.old.api, "commit", "-q", "-m", "submodule")
    git(pair.old.api, "push", "-q", str(pair.upstream), "main")
    pair.old.pull()
    git(pair.new.api, "pull", "-q", "--ff-only")
    git(pair.new.api, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    done = pair.back()
    assert (done.complete, results(done)["api/sub"]) == (True, "restored")
    assert pair.differences(2) == []
    assert status(pair.new) == status(pair.old)
    assert git(pair.new.api / "sub", "remote", "get-url", "origin").decode() == str(pair.old.base / "origin")


def test_a_linked_worktree_in_the_place_is_not_built_upon(pair: Pair) -> None:
    linked_worktree(pair.old)
    pair.old.pull()
    git(pair.new.api, "worktree", "add", "-q", "-b", "side", "../side")
    done = pair.back()
    assert [unit.reason for unit in done.units if unit.name == "side"] == [
        "it is a linked worktree of another repository"]


def test_a_link_on_the_way_to_the_place_is_not_followed(pair: Pair) -> None:
    inner = pair.old.workspace / "libs/one"
    inner.mkdir(parents=True)
    git(inner, "init", "-q")
    pair.old.commit("x", "x\n", inner)
    pair.old.pull()
    elsewhere = pair.new.base / "elsewhere"
    elsewhere.mkdir()
    (pair.new.workspace / "libs").symlink_to(elsewhere)
    done = pair.back()
    assert [(unit.name, unit.result) for unit in done.units if unit.name == "libs/one"] == [("libs/one", "refused")]
    assert os.listdir(elsewhere) == []


def beside(pair: Pair) -> None:
    (pair.old.workspace / "notes.txt").write_text("stored\n")
    (pair.old.workspace / "plans").mkdir()
    (pair.old.workspace / "plans/a").write_text("a\n")
    pair.old.pull()
    (pair.new.workspace / "notes.txt").write_text("mine\n")
    (pair.new.workspace / "plans").write_text("a file\n")
    pair.new.sessions.mkdir(parents=True)
    (pair.new.sessions / "one.jsonl").write_text("another session\n")


def test_loose_files_that_differ_stay_and_the_stored_ones_come_beside(pair: Pair) -> None:
    beside(pair)
    done = pair.back()
    assert results(done) == {"api": "restored", "sessions": "restored", "workspace": "restored"}
    assert (pair.new.workspace / "notes.txt").read_text() == "mine\n"
    assert (pair.new.workspace / "notes.txt.generation-2").read_text() == "stored\n"
    assert files(pair.new.sessions) == {"one.jsonl": b"another session\n",
                                        "one.jsonl.generation-2": b'{"type": "session"}\n'}
    kept = {item.path: item.reason for unit in done.units for item in unit.kept}
    assert kept == {"one.jsonl": "left as it is, the stored one is one.jsonl.generation-2",
                    "notes.txt": "left as it is, the stored one is notes.txt.generation-2",
                    "plans/a": "not written, not a directory"}
    assert results(pair.back())["sessions"] == "equal"
    assert len(files(pair.new.sessions)) == 2


def test_with_force_the_stored_ones_take_the_place(pair: Pair) -> None:
    beside(pair)
    assert pair.back(force=True).complete
    assert (pair.new.workspace / "notes.txt").read_text() == "stored\n"
    assert (pair.new.workspace / "notes.txt.before-generation-2").read_text() == "mine\n"
