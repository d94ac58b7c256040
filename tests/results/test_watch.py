"""Whatever spares a capture from looking at everything, nothing that changed stays unseen."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.results.box import Box, files, git
from tests.results.test_memory import CACHE, aged

MANY = 1100  # more than capture/watch.py reads one by one


@pytest.fixture
def big(box: Box) -> Box:
    """A repository of many committed files, pulled when all of them were old."""
    for number in range(MANY):
        path = box.api / f"part{number // 100}" / f"file{number:04}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number:04}\n")
    (box.api / "part3/link").symlink_to("file0300")
    git(box.api, "add", ".")
    git(box.api, "commit", "-q", "-m", "many")
    aged(box)
    assert box.pull().complete
    assert next((box.home / CACHE).iterdir()).joinpath("workspace").stat().st_size > MANY * 70
    assert box.pull().result == "unchanged"
    return box


def rewritten_unseen(api: Path) -> None:
    path = api / "part5/file0500"
    before = path.stat()
    path.write_text("XXXX\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def deleted(api: Path) -> None:
    (api / "part5/file0500").unlink()


def folder_deleted(api: Path) -> None:
    shutil.rmtree(api / "part5")


def made_executable(api: Path) -> None:
    (api / "part5/file0500").chmod(0o755)


def link_turned(api: Path) -> None:
    (api / "part3/link").unlink()
    (api / "part3/link").symlink_to("file0301")


def folder_moved_and_linked(api: Path) -> None:
    (api / "part5").rename(api / "moved")
    (api / "part5").symlink_to("moved")


def two_swapped(api: Path) -> None:
    one, other = api / "part5/file0500", api / "part5/file0501"
    one.rename(api / "part5/aside")
    other.rename(one)
    (api / "part5/aside").rename(other)


def file_in_a_new_folder(api: Path) -> None:
    (api / "part5/deep/er").mkdir(parents=True)
    (api / "part5/deep/er/new").write_text("new\n")


def hidden_by_a_flag(api: Path) -> None:
    git(api, "update-index", "--assume-unchanged", "part5/file0500")
    (api / "part5/file0500").write_text("hidden\n")


def altered_by_a_filter(api: Path) -> None:
    """Git calls this file unchanged, for what its filter makes of it is the same."""
    git(api, "config", "filter.same.clean", "echo 0500")
    (api / ".gitattributes").write_text("file0500 filter=same\n")
    (api / "part5/file0500").write_text("byte for byte\n")
    git(api, "add", "part5/file0500")


ACTS = [rewritten_unseen, deleted, folder_deleted, made_executable, link_turned, folder_moved_and_linked, two_swapped,
        file_in_a_new_folder, hidden_by_a_flag, altered_by_a_filter]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_one_change_among_many_files_comes_home(big: Box, act: Callable[[Path], None]) -> None:
    act(big.api)
    done = big.pull()
    assert (done.result, done.generation, done.complete) == ("new", 2, True)
    there = {name: data for name, data in files(big.api).items() if not name.startswith(".git/")}
    assert files(big.folder() / "api") == there
    modes = {path.name: path.stat().st_mode & 0o100 for path in (big.api / "part5").glob("file05*")}
    assert {path.name: path.stat().st_mode & 0o100 for path in (big.folder() / "api/part5").glob("file05*")} == modes
    assert big.pull().result == "unchanged"


def test_many_changes_at_once_make_the_next_comparison_short_again(big: Box) -> None:
    for number in range(0, MANY, 2):
        (big.api / f"part{number // 100}/file{number:04}").write_text("again\n")
    assert big.pull().generation == 2
    (big.api / "part5/file0500").write_text("and again\n")
    (big.api / "part5/file0502").unlink()
    assert big.pull().generation == 3
    stored = files(big.folder() / "api")
    assert (stored["part5/file0500"], stored["part5/file0504"]) == (b"and again\n", b"again\n")
    assert "part5/file0502" not in stored


@pytest.mark.parametrize("damage", ["a byte", "all"])
def test_a_damaged_comparison_costs_time_and_nothing_else(big: Box, damage: str) -> None:
    index = next((big.home / CACHE).iterdir()) / "workspace"
    data = index.read_bytes()
    index.unlink()
    if damage == "a byte":
        index.write_bytes(data[:5000] + b"?" + data[5001:])
    (big.api / "part5/file0500").write_text("changed\n")
    assert big.pull().generation == 2
    assert files(big.folder() / "api")["part5/file0500"] == b"changed\n"


def test_a_file_that_changed_while_it_was_ignored_is_read_when_it_no_longer_is(box: Box) -> None:
    (box.api / "out").mkdir()
    (box.api / "out/log").write_text("one\n")
    aged(box)
    box.pull()
    (box.api / ".gitignore").write_text("out\n")
    box.pull()
    (box.api / "out/log").write_text("two\n")
    aged(box)
    box.pull()
    (box.api / ".gitignore").write_text("\n")
    box.pull()
    assert (box.folder() / "api/out/log").read_text() == "two\n"


def test_a_new_rule_of_what_is_ignored_counts_when_nothing_else_is_new(box: Box) -> None:
    (box.api / ".gitignore").write_text("*.log\n")
    (box.api / "a.txt").write_text("text\n")
    aged(box)
    box.pull()
    (box.api / ".gitignore").write_text("*.txt\n")
    box.pull()
    assert box.stored("ignored", "a.txt", 2) == "text"


def test_commits_are_seen_in_submodules_and_branches_that_are_called_like_folders_of_git(box: Box) -> None:
    origin = box.base / "origin"
    origin.mkdir()
    git(origin, "init", "-q")
    box.commit("sub.txt", "sub\n", origin)
    for name in ("lfs", "objects"):
        git(box.api, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(origin), name)
    git(box.api, "branch", "objects/ab/c")
    git(box.api, "branch", "refs/x")
    aged(box)
    box.pull()
    lost = []
    for number, name in enumerate(("lfs", "objects"), 2):
        lost.append(box.commit("more", name, box.api / name))
        git(box.api / name, "reset", "-q", "--hard", "HEAD~1")
        assert box.pull().generation == number
        time.sleep(2.1)
    git(box.api, "branch", "-f", "objects/ab/c", git(box.api, "commit-tree", "HEAD^{tree}", "-m", "x").decode())
    assert box.pull().generation == 4
    assert [box.home_git("cat-file", "blob", f"{oid}:more") for oid in lost] == ["lfs", "objects"]


def branch(api: Path) -> None:
    git(api, "branch", "other")


def left_out(api: Path) -> None:
    git(api, "update-index", "--skip-worktree", "README.md")
    (api / "README.md").unlink()


def staged(api: Path) -> None:
    (api / "README.md").write_text("staged\n")
    git(api, "add", ".")
    (api / "README.md").write_text("hello\n")


def stashed(api: Path) -> None:
    (api / "README.md").write_text("stashed\n")
    git(api, "stash", "-q")


def dropped(api: Path) -> None:
    stashed(api)
    git(api, "stash", "drop", "-q")


@pytest.mark.parametrize("act", [branch, left_out, staged, stashed, dropped], ids=lambda act: act.__name__)
def test_a_git_directory_that_was_left_alone_for_long_is_looked_at_when_it_changes(
        box: Box, act: Callable[[Path], None]) -> None:
    aged(box)
    box.pull()
    assert box.pull().result == "unchanged"
    act(box.api)
    done = box.pull()
    assert (done.result, done.generation, done.complete) == ("new", 2, True)
    time.sleep(2.1)
    assert box.pull().result == "unchanged"


def test_a_dropped_stash_comes_home_from_a_pack_of_the_old_form(box: Box) -> None:
    git(box.api, "config", "pack.indexVersion", "1")
    stashed(box.api)
    lost = git(box.api, "rev-parse", "stash@{0}").decode()
    git(box.api, "repack", "-q", "-a", "-d")
    git(box.api, "stash", "drop", "-q")
    assert box.pull().complete
    assert box.home_git("cat-file", "blob", f"{lost}:README.md") == "stashed"
