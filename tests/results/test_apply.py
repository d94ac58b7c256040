"""Work comes into a person's own clone as a new branch, and nothing else in that clone changes or runs."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pifleet.errors import BadInput, PifleetError, Refused
from pifleet.results import Applied, apply, choose
from tests.results.box import Box, everything, files, git
from tests.results.forge import FILE, LINK, Forge, replaying


@pytest.fixture
def clone(box: Box) -> Path:
    """A clone of what the repository was at first."""
    git(box.base, "clone", "-q", str(box.api), str(box.base / "clone"))
    return box.base / "clone"


def bring(box: Box, clone: Path, number: int | None = None, branch: str = "", repo: str = "api") -> Applied:
    return apply(choose(box.results, "ana-main", "ana/main", number), repo, clone, branch)


def own(clone: Path) -> dict[str, Any]:
    """All of a clone but the objects, and the branch, that apply may add."""
    return {path: what for path, what in everything(clone).items()
            if not path.startswith((".git/objects", ".git/refs/heads/pifleet", ".git/logs/refs/heads/pifleet"))
            and path not in (".git/refs/heads", ".git/logs/refs/heads")}


def test_commits_become_a_branch_that_is_not_checked_out(box: Box, clone: Path) -> None:
    head = box.commit("new.txt", "new\n")
    box.pull()
    before = own(clone)
    done = bring(box, clone)
    assert (done.branch, done.tip, done.head, done.new) == ("pifleet/ana-main/1", head, head, True)
    assert git(clone, "rev-parse", "pifleet/ana-main/1").decode() == head
    assert own(clone) == before
    assert git(clone, "fsck", "--strict", "--no-dangling") == b""


def test_uncommitted_work_is_one_commit_on_top_byte_for_byte(box: Box, clone: Path) -> None:
    big = os.urandom(3 << 20)
    head = box.commit("src/a.py", "1\n")
    (box.api / "README.md").write_bytes(b"dos\r\n$Id$\r\n")
    (box.api / ".gitattributes").write_text("* text=auto ident\n")
    (box.api / "big.bin").write_bytes(big)
    (box.api / "run.sh").write_text("#!/bin/sh\n")
    (box.api / "run.sh").chmod(0o755)
    (box.api / "link").symlink_to("src/a.py")
    (box.api / "src/a.py").unlink()
    box.pull()
    created = choose(box.results, "ana-main", "ana/main").told["created"]
    done = bring(box, clone)
    assert git(clone, "log", "-1", "--format=%P|%s|%an|%aI|%cI", done.tip).decode() == (
        f"{head}|Uncommitted work of ana/main, generation 1|pifleet|{created}|{created}")
    listed = git(clone, "ls-tree", "-r", done.tip).decode().splitlines()
    assert [line.split()[0] + " " + line.split("\t")[1] for line in listed] == [
        "100644 .gitattributes", "100644 README.md", "100644 big.bin", "120000 link", "100755 run.sh"]
    assert git(clone, "cat-file", "blob", f"{done.tip}:README.md") == b"dos\r\n$Id$"
    assert git(clone, "hash-object", "--no-filters", str(box.api / "big.bin")) == git(
        clone, "rev-parse", f"{done.tip}:big.bin")
    assert git(clone, "fsck", "--strict", "--no-dangling") == b""


def test_a_second_time_there_is_nothing_to_do(box: Box, clone: Path) -> None:
    (box.api / "notes").write_text("untracked\n")
    box.pull()
    first = bring(box, clone)
    before = files(clone)
    second = bring(box, clone)
    assert (second.tip, second.new) == (first.tip, False)
    assert files(clone) == before


def test_an_earlier_generation_can_be_brought_under_another_name(box: Box, clone: Path) -> None:
    first = box.commit("a", "1\n")
    box.pull()
    box.commit("a", "2\n")
    box.pull()
    assert bring(box, clone, 1, "review/first").tip == first
    assert git(clone, "rev-parse", "review/first").decode() == first


def test_a_clone_with_uncommitted_changes_is_refused_with_both_ids(box: Box, clone: Path) -> None:
    head = box.commit("new", "1\n")
    box.pull()
    (clone / "README.md").write_text("mine\n")
    before = everything(clone)
    with pytest.raises(Refused, match="unfinished work") as error:
        bring(box, clone)
    assert "README.md" in error.value.trouble.saw
    assert git(clone, "rev-parse", "HEAD").decode() in error.value.trouble.saw
    assert head in error.value.trouble.saw
    assert everything(clone) == before


def test_staged_changes_and_operations_in_progress_count_and_untracked_files_do_not(box: Box, clone: Path) -> None:
    box.commit("new", "1\n")
    box.pull()
    (clone / "mine.txt").write_text("mine\n")
    bring(box, clone, branch="one")
    git(clone, "add", "mine.txt")
    with pytest.raises(Refused, match="unfinished work"):
        bring(box, clone, branch="two")
    git(clone, "reset", "-q")
    (clone / ".git/MERGE_HEAD").write_text("0" * 40)
    with pytest.raises(Refused) as error:
        bring(box, clone, branch="two")
    assert "a merge is in progress" in error.value.trouble.saw


def test_a_diverged_clone_is_refused_with_both_ids_and_a_way_on(box: Box, clone: Path) -> None:
    base = git(clone, "rev-parse", "HEAD").decode()
    theirs = box.commit("a", "theirs\n")
    box.pull()
    ours = box.commit("a", "ours\n", clone)
    before = files(clone)
    with pytest.raises(Refused, match="diverged") as error:
        bring(box, clone)
    assert ours in error.value.trouble.saw
    assert theirs in error.value.trouble.saw
    assert error.value.trouble.try_ == f"git -C {clone} worktree add {clone}-1 {base[:12]}, and --to that"
    assert files(clone) == before
    git(clone, "worktree", "add", "-q", f"{clone}-1", base)
    assert bring(box, Path(f"{clone}-1")).tip == theirs
    assert git(clone, "rev-parse", "pifleet/ana-main/1").decode() == theirs


def test_a_clone_of_something_else_is_refused(box: Box) -> None:
    other = box.base / "other"
    other.mkdir()
    git(other, "init", "-q")
    box.commit("x", "1\n", other)
    box.pull()
    with pytest.raises(Refused, match="diverged") as error:
        bring(box, other)
    assert error.value.trouble.try_ == "pifleet results restore ana/main/api --to FOLDER"


def test_an_empty_clone_takes_everything(box: Box) -> None:
    fresh = box.base / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q")
    head = box.commit("x", "1\n")
    box.pull()
    assert bring(box, fresh).tip == head
    assert git(fresh, "fsck", "--strict", "--no-dangling") == b""


def test_a_sandbox_without_a_commit_becomes_a_branch_of_its_work_alone(box: Box) -> None:
    shutil.rmtree(box.api / ".git")
    git(box.api, "init", "-q")
    box.pull()
    fresh = box.base / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q")
    done = bring(box, fresh)
    assert done.head == ""
    assert git(fresh, "cat-file", "blob", f"{done.branch}:README.md") == b"hello"


@pytest.mark.parametrize(("branch", "error"), [("-x", BadInput), ("a..b", BadInput), ("main/x", PifleetError)])
def test_a_branch_that_cannot_be_is_refused(box: Box, clone: Path, branch: str, error: type[Exception]) -> None:
    box.commit("new", "1\n")
    box.pull()
    before = own(clone)
    with pytest.raises(error):
        bring(box, clone, branch=branch)
    assert own(clone) == before


def test_a_branch_of_the_same_name_that_is_something_else_stays(box: Box, clone: Path) -> None:
    head = box.commit("new", "1\n")
    box.pull()
    mine = git(clone, "rev-parse", "HEAD").decode()
    git(clone, "branch", "pifleet/ana-main/1")
    with pytest.raises(Refused, match="there already") as error:
        bring(box, clone)
    assert mine in error.value.trouble.saw
    assert head in error.value.trouble.saw
    assert git(clone, "rev-parse", "pifleet/ana-main/1").decode() == mine


def test_a_folder_that_is_no_clone_is_refused(box: Box, clone: Path) -> None:
    box.pull()
    (clone / "inside").mkdir()
    for folder in (box.base / "home", clone / "inside", box.base / "none", box.results / ".store/ana-main.git"):
        with pytest.raises(Refused, match="not a git work tree"):
            bring(box, folder)


def test_a_repository_that_is_not_there_names_those_that_are(box: Box, clone: Path) -> None:
    box.pull()
    with pytest.raises(BadInput) as error:
        bring(box, clone, repo="apo")
    assert error.value.mistakes[0].wanted == "did you mean api?"


def test_no_hook_filter_or_monitor_of_either_side_runs(box: Box, clone: Path) -> None:
    sprung = box.base / "sprung"
    trap = box.base / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {sprung}\ncat\n")
    trap.chmod(0o755)
    (box.api / ".gitattributes").write_text("* filter=trap diff=trap\n")
    (clone / ".git/info/attributes").write_text("* filter=trap diff=trap\n")
    box.pull()
    for setting in ("filter.trap.clean", "filter.trap.smudge", "core.fsmonitor", "diff.trap.textconv", "diff.external",
                    "core.alternateRefsCommand", "core.sshCommand", "core.pager"):
        git(clone, "config", setting, str(trap))
    git(clone, "config", "filter.trap.required", "true")
    (clone / ".git/hooks").mkdir(exist_ok=True)
    for hook in ("reference-transaction", "post-checkout", "post-index-change", "pre-auto-gc"):
        shutil.copy(trap, clone / ".git/hooks" / hook)
    os.utime(clone / "README.md", (1, 1))
    git(clone, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "status")
    assert sprung.exists(), "the trap works"
    sprung.unlink()
    os.utime(clone / "README.md", (2, 2))
    bring(box, clone)
    assert not sprung.exists()


def test_dangerous_entries_are_left_out_of_the_tree_and_named(box: Box) -> None:
    forge = Forge()
    tree = forge.tree((FILE, b"esc\x1b[2J", forge.blob()), (FILE, b"fine", forge.blob()),
                      (LINK, b"out", forge.blob(b"/etc/passwd")), ("160000", b"sub", "1" * 40))
    answer = forge.answer(forge.unit(tree))
    box.pull(open_stream=lambda argv: replaying(answer, box.base))
    fresh = box.base / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q")
    done = bring(box, fresh)
    assert [(item.path, item.reason) for item in done.left_out] == [
        ("esc\\x1b[2J", "path.control"), ("out", "link.outside")]
    assert git(fresh, "ls-tree", "-r", "--name-only", done.branch).split() == [b"fine", b"sub"]


def test_the_state_of_a_merge_is_said_and_not_applied(box: Box, clone: Path) -> None:
    git(box.api, "checkout", "-q", "-b", "other")
    box.commit("README.md", "theirs\n")
    git(box.api, "checkout", "-q", "main")
    box.commit("README.md", "ours\n")
    git(box.api, "merge", "-q", "other", code=1)
    box.pull()
    done = bring(box, clone)
    assert done.operation == "merge"
    assert b"<<<<<<<" in git(clone, "cat-file", "blob", f"{done.branch}:README.md")
    assert not (clone / ".git/MERGE_HEAD").exists()


def test_a_damaged_store_leaves_the_clone_as_it_was(box: Box, clone: Path) -> None:
    box.commit("new", os.urandom(50_000).hex())
    box.pull()
    for pack in (box.results / ".store/ana-main.git/objects/pack").glob("*.pack"):
        data = bytearray(pack.read_bytes())
        if len(data) > 10_000:
            data[5000:9000] = bytes(4000)
            pack.chmod(0o600)
            pack.write_bytes(data)
    before = files(clone)
    with pytest.raises(PifleetError, match="is as before"):
        bring(box, clone)
    assert files(clone) == before
    assert not list((clone / ".git/objects").glob("tmp*"))
