"""A history comes home whole, however its objects lie in the sandbox and whoever packs them."""

import os

import pytest

from tests.results.box import Box, git

COMMITS = 40  # each with three objects, which is enough to be packed without git


def worked(box: Box) -> None:
    """Many commits that git has not packed, a tag with words, and a stash."""
    for number in range(COMMITS):
        box.commit(f"file{number % 7}", f"{number}\n" * 50 * number)
    (box.api / "large").write_bytes(os.urandom(100_000))
    git(box.api, "add", "large")
    git(box.api, "commit", "-q", "-m", "large")
    git(box.api, "tag", "-a", "-m", "words", "v1")
    (box.api / "README.md").write_text("stashed\n")
    git(box.api, "stash", "-q")


def objects(box: Box) -> set[str]:
    listed = git(box.api, "rev-list", "--objects", "--all", "--reflog").decode()
    return {line.split()[0] for line in listed.splitlines()}


@pytest.mark.parametrize("packed", [False, True], ids=["as it was written", "packed by git"])
def test_all_of_it_comes_home(box: Box, packed: bool) -> None:
    worked(box)
    if packed:
        git(box.api, "gc", "-q")
    done = box.pull()
    assert (done.result, done.complete) == ("new", True)
    stored = {line.split()[0] for line in box.home_git("rev-list", "--objects", "--all").splitlines()}
    assert objects(box) <= stored
    assert box.home_git("fsck", "--strict") == ""


def test_what_is_new_of_it_builds_on_what_is_there(box: Box) -> None:
    box.pull()
    worked(box)
    done = box.pull()
    assert (done.result, done.complete) == ("new", True)
    stored = {line.split()[0] for line in box.home_git("rev-list", "--objects", "--all").splitlines()}
    assert objects(box) <= stored


def test_a_history_of_which_git_has_packed_the_older_part_comes_home_too(box: Box) -> None:
    worked(box)
    git(box.api, "gc", "-q")
    for number in range(110):  # so many that packing without git begins, and meets what it cannot pack
        git(box.api, "commit", "-q", "--allow-empty", "-m", f"{number}")
    done = box.pull()
    assert (done.result, done.complete) == ("new", True)
    stored = {line.split()[0] for line in box.home_git("rev-list", "--objects", "--all").splitlines()}
    assert objects(box) <= stored


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_one_damaged_object_of_many_costs_the_history_and_no_file(box: Box, damage: str) -> None:
    worked(box)
    blob = git(box.api, "rev-parse", "HEAD~5:file1").decode()
    path = box.api / ".git/objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5])
    (box.api / "work.txt").write_text("work\n")
    done = box.pull()
    assert [(item.path, item.reason) for item in done.incomplete] == [("api/.git", "git.connectivity")]
    assert (box.folder() / "api/work.txt").read_text() == "work\n"
    assert box.pull().result == "unchanged"
