"""A stored generation goes back into a sandbox, whole: what a pull then finds there is the same work."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pifleet.errors import BadInput
from pifleet.results.receipt import units_of
from tests.results.box import Box, everything, files, git
from tests.results.pair import Pair, leftovers, results, status
from tests.results.test_capture import SHAPES, conflict, intent_to_add, mid_merge, mid_rebase, three_stashes


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("place", ["nothing", "clone"])
def test_every_state_is_there_again(pair: Pair, shape: Callable[[Box], None], place: str) -> None:
    shape(pair.old)
    assert pair.old.pull().complete
    if place == "clone":
        pair.clone()
    done = pair.back()
    assert done.complete, done
    assert pair.differences() == []
    if shape is not intent_to_add:
        assert status(pair.new) == status(pair.old)
    assert set(results(pair.back(generation=1)).values()) == {"equal"}
    assert leftovers(pair.new) == []


def test_what_was_only_meant_to_be_added_is_added_empty(pair: Pair) -> None:
    """A capture does not know the difference: the index has an empty file either way."""
    intent_to_add(pair.old)
    pair.old.pull()
    assert pair.back().complete
    assert status(pair.new)["api"].startswith(b"1 AM ")


def test_a_rebase_goes_on_where_it_stopped(pair: Pair) -> None:
    mid_rebase(pair.old)
    pair.old.pull()
    pair.back()
    for box in (pair.old, pair.new):
        (box.api / "README.md").write_text("both\n")
        git(box.api, "add", "README.md")
        git(box.api, "rebase", "--continue")
    heads = [git(box.api, "rev-parse", "main", "HEAD") for box in (pair.old, pair.new)]
    assert heads[0] == heads[1]
    assert b"rebase" not in git(pair.new.api, "status")


def test_a_merge_can_be_given_up_or_finished(pair: Pair) -> None:
    mid_merge(pair.old)
    (pair.old.api / "untracked.txt").write_text("untracked\n")
    pair.old.pull()
    pair.back()
    git(pair.new.api, "checkout", "-q", "--theirs", "README.md")
    assert (pair.new.api / "README.md").read_text() == "theirs\n"
    git(pair.new.api, "merge", "--abort")
    assert (pair.new.api / "README.md").read_text() == "ours\n"
    assert (pair.new.api / "untracked.txt").read_text() == "untracked\n"


def test_stashes_keep_their_order_and_can_be_applied(pair: Pair) -> None:
    three_stashes(pair.old)
    git(pair.old.api, "stash", "list")
    pair.old.pull()
    pair.back()
    assert git(pair.new.api, "stash", "list") == git(pair.old.api, "stash", "list")
    git(pair.new.api, "stash", "pop", "-q", "stash@{1}")
    assert (pair.new.api / "README.md").read_text() == "stash 1\n"
    assert len(git(pair.new.api, "stash", "list").splitlines()) == 2


def test_big_files_come_back_wherever_they_lay(pair: Pair) -> None:
    big = os.urandom(1 << 20) + b"end"
    (pair.old.api / ".gitignore").write_text("*.bin\n")
    for path in (pair.old.api / "data.txt", pair.old.api / "made.bin", pair.old.workspace / "loose.dat",
                 pair.old.sessions / "long.jsonl"):
        path.write_bytes(big + path.name.encode())
    (pair.old.api / "data.txt").chmod(0o755)
    pair.old.pull()
    assert pair.back().complete
    assert files(pair.new.workspace / "api").keys() >= {"data.txt", "made.bin"}
    assert (pair.new.api / "data.txt").stat().st_mode & 0o777 == 0o755
    assert (pair.new.sessions / "long.jsonl").read_bytes() == big + b"long.jsonl"
    assert pair.differences() == []


def test_large_files_of_git_lfs_are_there_again(pair: Pair) -> None:
    name = "ab" * 32
    kept = Path(".git/lfs/objects/ab/ab") / name
    for size, suffix in ((10, "c"), (2 << 20, "d")):
        path = pair.old.api / kept.with_name(name[:-1] + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(suffix.encode() * size)
    pair.old.pull()
    assert pair.back().complete
    assert files(pair.new.api / ".git/lfs") == files(pair.old.api / ".git/lfs")
    assert pair.differences() == []


def test_bytes_are_those_that_were_there_whatever_filters_say(pair: Pair) -> None:
    (pair.old.api / ".gitattributes").write_text("*.txt text eol=crlf\n*.id ident\n")
    (pair.old.api / "a.txt").write_bytes(b"one\ntwo\r\n")
    (pair.old.api / "b.id").write_bytes(b"$Id: mine $\n")
    git(pair.old.api, "add", ".")
    git(pair.old.api, "commit", "-q", "-m", "filtered")
    pair.old.pull()
    pair.back()
    assert (pair.new.api / "a.txt").read_bytes() == b"one\ntwo\r\n"
    assert (pair.new.api / "b.id").read_bytes() == b"$Id: mine $\n"
    assert status(pair.new) == status(pair.old)


def test_a_branch_with_a_name_that_home_does_not_store_is_the_current_one_again(pair: Pair) -> None:
    git(pair.old.api, "checkout", "-q", "-b", "für/später")
    pair.old.commit("later.txt", "later\n")
    pair.old.pull()
    pair.back()
    assert git(pair.new.api, "symbolic-ref", "HEAD").decode() == "refs/heads/für/später"
    assert status(pair.new) == {"api": b""}
    assert pair.differences() == []


def test_a_workspace_that_is_itself_a_repository_is_one_again(pair: Pair) -> None:
    git(pair.old.workspace, "init", "-q")
    (pair.old.workspace / "top.txt").write_text("top\n")
    pair.old.pull()
    assert results(pair.back()) == {".": "restored", "api": "restored", "sessions": "restored"}
    assert pair.differences() == []
    assert status(pair.new) == status(pair.old)


def test_a_repository_that_could_not_be_read_comes_back_as_the_files_that_it_came_home_as(pair: Pair) -> None:
    (pair.old.api / ".git/HEAD").write_text("nonsense\n")
    (pair.old.api / "work.txt").write_text("work\n")
    pair.old.pull()
    done = pair.back()
    assert results(done)["api"] == "restored"
    assert [(item.path, item.reason) for item in done.units[0].left] == [(".git", "git.broken")]
    assert files(pair.new.api) == {"README.md": b"hello\n", "work.txt": b"work\n"}
    assert results(pair.back())["api"] == "equal"


def test_only_what_is_asked_for_goes_back(pair: Pair) -> None:
    pair.old.pull()
    assert results(pair.back(units=["sessions"])) == {"sessions": "restored"}
    assert not pair.new.api.exists()
    assert results(pair.back(units=["api"])) == {"api": "restored"}


@pytest.mark.parametrize("asked", [{"units": ["web"]}, {"units": ["api/README.md"]}, {"generation": 7}])
def test_what_is_not_in_the_store_is_bad_input_and_touches_nothing(pair: Pair, asked: dict[str, object]) -> None:
    pair.old.pull()
    before = everything(pair.new.base)
    with pytest.raises(BadInput):
        pair.back(**asked)
    assert everything(pair.new.base) == before


def differing(pair: Pair) -> dict[str, Callable[[], object]]:
    api = pair.old.api
    return {
        "HEAD": lambda: pair.old.commit("x", "x\n"),
        "its branch": lambda: git(api, "checkout", "-q", "-b", "side"),
        "branches or tags": lambda: git(api, "tag", "new"),
        "files": lambda: (api / "new.txt").write_text("new\n"),
        "staged changes": lambda: git(api, "add", "new.txt"),
        "ignored files": lambda: [(api / ".gitignore").write_text("*.log\n"), (api / "a.log").write_text("a\n")],
        "big files": lambda: (api / "big").write_bytes(b"x" * (2 << 20)),
        "stashes": lambda: git(api, "stash", "-q"),
    }


def test_any_difference_of_work_is_seen(pair: Pair) -> None:
    generation = pair.old.pull().generation
    for word, change in differing(pair).items():
        change()
        after = pair.old.pull().generation
        assert generation
        assert after == generation + 1
        assert f"api: {word}" in pair.between(generation, after)
        generation = after
    conflict(pair.old)
    git(pair.old.api, "merge", "other", code=1)
    assert "api: the operation in progress" in pair.between(generation, pair.old.pull().generation or 0)


def test_a_forgotten_commit_and_a_repository_more_or_less_are_seen(pair: Pair) -> None:
    lost = pair.old.commit("lost.txt", "lost\n")
    git(pair.old.api, "reset", "-q", "--hard", "HEAD~1")
    pair.old.pull()
    git(pair.old.api, "reflog", "expire", "--expire=now", "--all")
    git(pair.old.api, "gc", "-q", "--prune=now")
    assert git(pair.old.api, "cat-file", "-t", lost, code=128) == b""
    pair.old.pull()
    assert pair.between(1, 2) == ["api: commits that only a log remembers"]
    assert pair.between(2, 1) == []
    pair.old.api.rename(pair.old.workspace / "web")
    pair.old.pull()
    assert pair.between(2, 3) == ["api: it is gone", "web: it was not there"]
    told = pair.store.receipt(pair.store.generations()[3])[0]
    assert [unit.path for unit in units_of(told)] == [b"web", b"workspace", b"sessions"]
