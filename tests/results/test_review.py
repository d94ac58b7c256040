"""Looking at earlier generations, with the sandbox gone: what they hold, and what changed between two of them."""

import os
import shutil
import subprocess

import pytest

from pifleet.errors import BadInput
from pifleet.results import choose, compare, kept_sandboxes, listing, one_file, overview, patch
from pifleet.results.choosing import Chosen
from tests.results.box import Box, git


def chosen(box: Box, number: int | None = None) -> Chosen:
    return choose(box.results, "ana-main", "ana/main", number)


def read(box: Box, typed: str, number: int | None = None) -> bytes:
    file = one_file(chosen(box, number), typed)
    assert file
    with file:
        return file.read()


def test_nothing_pulled_yet_says_what_to_type(box: Box) -> None:
    with pytest.raises(BadInput, match="nothing has been pulled") as error:
        chosen(box)
    assert error.value.trouble.try_ == "pifleet pull ana/main"


def test_an_unknown_generation_names_those_that_are_there(box: Box) -> None:
    box.pull()
    with pytest.raises(BadInput, match="no generation 7") as error:
        chosen(box, 7)
    assert error.value.mistakes[0].wanted == "use 1"


@pytest.mark.parametrize(("typed", "wanted"), [
    ("ap", "did you mean api?"), ("api/READM.md", "did you mean README.md?"), ("api/none/x", "use README.md"),
    ("../api", "did you mean api?"),
])
def test_what_is_not_there_names_what_is_nearest(box: Box, typed: str, wanted: str) -> None:
    box.pull()
    with pytest.raises(BadInput) as error:
        listing(chosen(box), typed)
    assert error.value.mistakes[0].wanted == wanted


def test_the_overview_tells_of_branches_stashes_and_an_operation_in_progress(box: Box) -> None:
    git(box.api, "tag", "v1")
    git(box.api, "checkout", "-q", "-b", "other")
    box.commit("README.md", "theirs\n")
    git(box.api, "checkout", "-q", "main")
    (box.api / "README.md").write_text("stashed\n")
    git(box.api, "stash", "-q")
    head = box.commit("README.md", "ours\n")
    git(box.api, "merge", "-q", "other", code=1)
    box.pull()
    unit = overview(chosen(box))[0]
    assert (unit.name, unit.head, unit.branch, unit.branches, unit.tags, unit.stashes, unit.operation) == (
        "api", head, "main", 2, 1, 1, "merge")


def test_a_file_is_read_byte_for_byte_from_any_generation_after_the_sandbox_is_gone(box: Box) -> None:
    big = os.urandom(3 << 20)
    (box.api / "data.bin").write_bytes(big)
    box.pull()
    (box.api / "README.md").write_bytes(b"\xff\x1b[2J\r\n")
    (box.api / "data.bin").write_bytes(big + b"more")
    box.pull()
    shutil.rmtree(box.workspace)
    assert (read(box, "api/README.md", 1), read(box, "api/README.md")) == (b"hello\n", b"\xff\x1b[2J\r\n")
    assert (read(box, "api/data.bin", 1), read(box, "api/data.bin", 2)) == (big, big + b"more")
    assert read(box, "sessions/one.jsonl") == b'{"type": "session"}\n'


def test_a_folder_is_a_list_and_not_a_file(box: Box) -> None:
    box.commit("src/only.py", "1\n")
    box.pull()
    assert one_file(chosen(box), "api/src") is None
    assert [entry.name for entry in listing(chosen(box), "api/src")] == ["api/src/only.py"]
    assert [entry.name for entry in listing(chosen(box), "api")] == ["api/README.md", "api/src/only.py"]


def test_names_are_escaped_and_may_be_typed_as_they_are_shown(box: Box) -> None:
    with open(os.fsencode(box.api) + b"/caf\xe9\x1b[0m", "wb") as file:
        file.write(b"latin")
    box.pull()
    (name,) = [entry.name for entry in listing(chosen(box), "api") if "caf" in entry.name]
    assert name == "api/caf\\xe9\\x1b[0m"
    assert read(box, name) == read(box, os.fsdecode(b"api/caf\xe9\x1b[0m")) == b"latin"


def test_a_nested_repository_is_found_by_its_own_path(box: Box) -> None:
    inner = box.api / "vendor/lib"
    inner.mkdir(parents=True)
    git(inner, "init", "-q", "-b", "main")
    box.commit("lib.c", "int x;\n", inner)
    box.pull()
    assert read(box, "api/vendor/lib/lib.c") == b"int x;\n"
    assert {entry.name for entry in listing(chosen(box), "api")} == {"api/README.md", "api/vendor/lib/lib.c"}


def test_ignored_files_and_artifacts_are_listed_too(box: Box) -> None:
    box.commit(".gitignore", "dist/\n*.log\n")
    (box.api / "dist").mkdir()
    (box.api / "dist/wheel").write_text("wheel\n")
    (box.api / "x.log").write_text("log\n")
    box.pull(artifacts=["api/dist/**"])
    assert [entry.name for entry in listing(chosen(box), "api")] == [
        "api/.gitignore", "api/README.md", "api/dist/wheel", "api/x.log"]
    assert overview(chosen(box))[0].artifacts == ("dist/wheel",)


def test_results_know_sandboxes_that_no_inventory_has(box: Box) -> None:
    assert kept_sandboxes(box.results, set()) == {}
    box.pull()
    assert kept_sandboxes(box.results, set()) == {"ana/main": "ana-main"}
    assert kept_sandboxes(box.results, {"ana-main"}) == {}


def test_equal_generations_differ_in_nothing(box: Box) -> None:
    box.pull()
    assert compare(chosen(box), chosen(box)) == []
    assert list(patch(chosen(box), chosen(box))) == []


def test_commits_are_told_by_branch_and_files_by_what_became_of_them(box: Box) -> None:
    box.commit("gone.txt", "1\n")
    (box.api / "big.bin").write_bytes(os.urandom(2 << 20))
    box.pull()
    git(box.api, "rm", "-q", "gone.txt")
    git(box.api, "commit", "-q", "-m", "Drop it\x1b[31m")
    head = git(box.api, "rev-parse", "HEAD").decode()
    git(box.api, "branch", "side", "HEAD~1")
    (box.api / "README.md").chmod(0o755)
    with (box.api / "big.bin").open("ab") as file:
        file.write(b"more")
    (box.sessions / "two.jsonl").write_text("{}\n")
    box.pull()
    api, sessions = compare(chosen(box, 1), chosen(box, 2))
    branches = {branch.name: branch for branch in api.branches}
    assert branches["main"].commits == ((head, "Drop it\\x1b[31m"),)
    assert (branches["side"].before, branches["side"].added) == ("", 0)
    assert [(one.path, one.what) for one in api.files] == [
        ("README.md", "changed"), ("big.bin", "changed"), ("gone.txt", "removed")]
    assert [(one.path, one.what) for one in sessions.files] == [("two.jsonl", "added")]


def test_a_rewritten_branch_and_a_detached_head_are_told(box: Box) -> None:
    box.commit("a", "1\n")
    box.pull()
    git(box.api, "commit", "-q", "--amend", "-m", "amended")
    git(box.api, "checkout", "-q", "--detach")
    lonely = box.commit("b", "2\n")
    box.pull()
    branches = {branch.name: branch for branch in compare(chosen(box, 1), chosen(box, 2))[0].branches}
    assert (branches["main"].added, branches["main"].dropped) == (1, 1)
    assert branches["HEAD"].after == lonely


def test_a_repository_that_came_or_went_is_told_as_a_whole(box: Box) -> None:
    box.pull()
    shutil.rmtree(box.api)
    box.pull()
    (one,) = compare(chosen(box, 1), chosen(box, 2))
    assert (one.name, one.what, one.branches[0].after, one.files[0].what) == ("api", "removed", "", "removed")


def test_a_patch_applies_to_the_earlier_state_and_runs_no_program_of_the_sandbox(box: Box) -> None:
    box.commit("a.txt", "one\ntwo\nthree\n")
    box.pull()
    (box.api / "a.txt").write_text("one\n2\nthree\n")
    (box.api / "new.txt").write_text("new\n")
    (box.api / ".gitattributes").write_text("*.txt diff=evil\n")
    git(box.api, "config", "diff.evil.textconv", f"touch {box.base}/sprung")
    git(box.api, "config", "diff.external", f"touch {box.base}/sprung")
    box.pull()
    told = b"".join(patch(chosen(box, 1), chosen(box, 2)))
    assert b"--- a/api/a.txt\n+++ b/api/a.txt\n" in told
    before = box.base / "before"
    before.mkdir()
    (before / "a.txt").write_text("one\ntwo\nthree\n")
    subprocess.run(["git", "apply", "-p2"], cwd=before, input=told, check=True)
    assert (before / "a.txt").read_text() == "one\n2\nthree\n"
    assert (before / "new.txt").read_text() == "new\n"
    assert not (box.base / "sprung").exists()


def test_big_and_binary_files_are_only_named_in_a_patch(box: Box) -> None:
    box.pull()
    (box.api / "blocks.bin").write_bytes(os.urandom(2 << 20))
    (box.api / "small.bin").write_bytes(b"\0\1")
    box.pull()
    told = b"".join(patch(chosen(box, 1), chosen(box, 2)))
    assert b"Binary files a/api/blocks.bin and b/api/blocks.bin differ\n" in told
    assert b"Binary files /dev/null and b/api/small.bin differ\n" in told
    assert len(told) < 1000


def test_a_diff_can_be_narrowed_to_a_path(box: Box) -> None:
    box.pull()
    box.commit("src/a", "1\n")
    (box.api / "other").write_text("2\n")
    box.pull()
    (one,) = compare(chosen(box, 1), chosen(box, 2), "api/src")
    assert ([file.path for file in one.files], one.branches) == (["src/a"], ())
    assert b"other" not in b"".join(patch(chosen(box, 1), chosen(box, 2), "api/src"))
