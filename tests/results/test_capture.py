"""What is in a sandbox comes home byte for byte, and the sandbox is left exactly as it was."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pifleet.results import Limits
from tests.results.box import Box, everything, files, git


def test_commits_changes_and_untracked_files_come_home(box: Box) -> None:
    head = box.commit("src/main.py", "print(1)\n")
    (box.api / "src/main.py").write_text("print(2)\n")
    (box.api / "notes.md").write_text("untracked\n")
    (box.workspace / "loose.txt").write_text("beside\n")
    done = box.pull()
    assert (done.result, done.generation, done.complete, done.trouble) == ("new", 1, True, None)
    assert files(box.folder()) == {
        "api/README.md": b"hello\n", "api/src/main.py": b"print(2)\n", "api/notes.md": b"untracked\n",
        "workspace/loose.txt": b"beside\n", "sessions/one.jsonl": b'{"type": "session"}\n',
        "receipt.json": (box.folder() / "receipt.json").read_bytes(),
    }
    assert done.repos[0].head == head == box.home_git("rev-parse", box.ref("heads/main"))
    assert box.home_git("fsck", "--strict", "--no-dangling") == ""


def dirty(box: Box) -> None:
    (box.api / "README.md").write_text("changed\n")


def staged_then_changed(box: Box) -> None:
    (box.api / "README.md").write_text("staged\n")
    git(box.api, "add", "README.md")
    (box.api / "README.md").write_text("worktree\n")


def deleted(box: Box) -> None:
    (box.api / "README.md").unlink()


def renamed(box: Box) -> None:
    git(box.api, "mv", "README.md", "LIESMICH.md")


def executable(box: Box) -> None:
    (box.api / "run.sh").write_text("#!/bin/sh\n")
    (box.api / "run.sh").chmod(0o755)


def setuid(box: Box) -> None:
    (box.api / "su").write_text("x")
    (box.api / "su").chmod(0o6755)


def link(box: Box) -> None:
    (box.api / "docs").mkdir()
    (box.api / "docs/top").symlink_to("../README.md")


def non_utf8_name(box: Box) -> None:
    Path(os.fsdecode(os.fsencode(box.api) + b"/caf\xe9")).write_bytes(b"latin")


def odd_names(box: Box) -> None:
    for name in (' "quoted" ', "back\\slash", "-rf", "tab\tand\nnewline", "日本"):
        (box.api / name).write_text(name)


def unborn(box: Box) -> None:
    git(box.api, "checkout", "-q", "--orphan", "fresh")


def detached(box: Box) -> None:
    git(box.api, "checkout", "-q", "--detach")
    box.commit("lonely.txt", "on no branch\n")


def conflict(box: Box) -> None:
    git(box.api, "checkout", "-q", "-b", "other")
    box.commit("README.md", "theirs\n")
    git(box.api, "checkout", "-q", "main")
    box.commit("README.md", "ours\n")


def mid_merge(box: Box) -> None:
    conflict(box)
    git(box.api, "merge", "other", code=1)


def mid_rebase(box: Box) -> None:
    conflict(box)
    git(box.api, "rebase", "other", code=1)


def mid_cherry_pick(box: Box) -> None:
    conflict(box)
    git(box.api, "cherry-pick", "other", code=1)


def three_stashes(box: Box) -> None:
    for number in range(3):
        (box.api / "README.md").write_text(f"stash {number}\n")
        git(box.api, "stash", "-q")


def reset_away(box: Box) -> None:
    box.commit("lost.txt", "lost and found\n")
    git(box.api, "reset", "-q", "--hard", "HEAD~1")


def intent_to_add(box: Box) -> None:
    (box.api / "later.txt").write_text("later\n")
    git(box.api, "add", "-N", "later.txt")


def stale_index_lock(box: Box) -> None:
    dirty(box)
    (box.api / ".git/index.lock").write_bytes(b"")


def ignored(box: Box) -> None:
    (box.api / ".gitignore").write_text("*.log\nnode_modules/\n")
    (box.api / "build.log").write_text("built\n")
    (box.api / "node_modules").mkdir()
    (box.api / "node_modules/x.js").write_text("x\n")


def packed_with_tags(box: Box) -> None:
    git(box.api, "tag", "-a", "v1", "-m", "one")
    git(box.api, "tag", "light")
    git(box.api, "gc", "-q")


def nested(box: Box) -> None:
    inner = box.api / "vendor/inner"
    inner.mkdir(parents=True)
    git(inner, "init", "-q", "-b", "main")
    box.commit("in.txt", "inner\n", inner)
    (inner / "dirty.txt").write_text("dirty\n")


def nested_and_ignored(box: Box) -> None:
    nested(box)
    (box.api / ".gitignore").write_text("vendor/\n/apart\n")
    (box.api / "apart").mkdir()
    git(box.api / "apart", "init", "-q")
    box.commit("x", "x\n", box.api / "apart")


def nested_empty(box: Box) -> None:
    (box.api / "empty").mkdir()
    git(box.api / "empty", "init", "-q")
    (box.api / "empty/file").write_text("in an empty repository\n")


def unexpected(box: Box) -> None:
    other = box.workspace / "scratch"
    other.mkdir()
    git(other, "init", "-q")
    box.commit("idea.txt", "an idea\n", other)


def linked_worktree(box: Box) -> None:
    git(box.api, "worktree", "add", "-q", "-b", "side", "../side")
    (box.workspace / "side/side.txt").write_text("side\n")


def submodule(box: Box) -> None:
    origin = box.base / "origin"
    origin.mkdir()
    git(origin, "init", "-q")
    box.commit("sub.txt", "sub\n", origin)
    git(box.api, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(origin), "sub")
    (box.api / "sub/sub.txt").write_text("dirty submodule\n")


def borrowed_objects(box: Box) -> None:
    git(box.base, "clone", "-q", "--bare", str(box.api), "mirror.git")
    git(box.workspace, "clone", "-q", "--shared", str(box.base / "mirror.git"), "borrower")


def bare_repository(box: Box) -> None:
    git(box.workspace, "clone", "-q", "--bare", "api", "copy.git")


SHAPES = [dirty, staged_then_changed, deleted, renamed, executable, setuid, link, non_utf8_name, odd_names, unborn,
          detached, mid_merge, mid_rebase, mid_cherry_pick, three_stashes, reset_away, intent_to_add,
          stale_index_lock, ignored, packed_with_tags, nested, nested_and_ignored, nested_empty, unexpected,
          linked_worktree, submodule, borrowed_objects, bare_repository]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_state_comes_home_complete_and_nothing_of_it_is_touched(box: Box, shape: Callable[[Box], None]) -> None:
    shape(box)
    before = everything(box.workspace)
    first = box.pull()
    assert (first.result, first.complete, first.trouble) == ("new", True, None)
    assert everything(box.workspace) == before
    assert sorted(path.name for path in box.home.iterdir()) == [".cache", ".pi"]
    second = box.pull()
    assert (second.result, second.generation) == ("unchanged", 1)
    assert second.bytes < 2000
    for path in (path for path in box.api.rglob("*") if ".git" not in path.parts and "node_modules" not in path.parts):
        home = box.folder() / path.relative_to(box.workspace)
        if path.is_file() and home.exists():
            assert home.read_bytes() == path.read_bytes()
    assert box.home_git("fsck", "--strict", "--no-dangling") == ""


def test_staged_and_worktree_versions_are_both_kept(box: Box) -> None:
    staged_then_changed(box)
    box.pull()
    assert box.stored("index", "README.md") == "staged"
    assert box.stored("snapshot", "README.md") == "worktree"
    assert box.home_git("rev-parse", f"{box.ref('snapshot')}^2") == box.home_git("rev-parse", box.ref("index"))


def test_an_executable_is_one_and_a_setuid_file_is_no_more_than_that(box: Box) -> None:
    executable(box)
    setuid(box)
    box.pull()
    modes = {name: (box.folder() / "api" / name).stat().st_mode & 0o7777 for name in ("run.sh", "su", "README.md")}
    assert modes == {"run.sh": 0o755, "su": 0o755, "README.md": 0o644}


def test_names_that_are_not_utf8_keep_their_bytes(box: Box) -> None:
    non_utf8_name(box)
    box.pull()
    assert sorted(os.listdir(os.fsencode(box.folder() / "api"))) == [b"README.md", b"caf\xe9"]


def test_a_name_with_a_newline_is_stored_but_not_written(box: Box) -> None:
    odd_names(box)
    done = box.pull()
    assert [(item.path, item.reason) for item in done.refused] == [(r"api/tab\x09and\x0anewline", "path.control")]
    assert done.complete
    assert sorted(path.name for path in (box.folder() / "api").iterdir()) == [
        ' "quoted" ', "-rf", "README.md", "back\\slash", "日本"]


def test_a_link_stays_one_if_it_points_inside_and_is_stored_but_not_written_if_not(box: Box) -> None:
    link(box)
    (box.api / "passwd").symlink_to("/etc/passwd")
    (box.api / "up").symlink_to("../../..")
    done = box.pull()
    assert (done.result, [item.path for item in done.refused]) == ("new", ["api/passwd", "api/up"])
    assert os.readlink(box.folder() / "api/docs/top") == "../README.md"
    assert box.stored("snapshot", "passwd") == "/etc/passwd"


def test_a_detached_head_is_kept(box: Box) -> None:
    detached(box)
    done = box.pull()
    assert box.home_git("cat-file", "blob", f"{done.repos[0].head}:lonely.txt") == "on no branch"


def test_an_operation_in_progress_keeps_its_state_and_all_sides(box: Box) -> None:
    mid_merge(box)
    box.pull()
    sides = [box.stored("operation", f"stages/{side}/README.md") for side in (1, 2, 3)]
    assert sides == ["hello", "ours", "theirs"]
    assert box.stored("operation", "git/MERGE_HEAD") == git(box.api, "rev-parse", "other").decode()
    assert "<<<<<<<" in box.stored("snapshot", "README.md")
    receipt = json.loads((box.folder() / "receipt.json").read_text())
    assert receipt["units"][0]["operation_name"] == "merge"


def test_a_rebase_keeps_its_todo_and_the_commit_it_came_from(box: Box) -> None:
    mid_rebase(box)
    before = git(box.api, "rev-parse", "main").decode()
    box.pull()
    assert box.stored("operation", "git/rebase-merge/orig-head") == before
    assert box.home_git("cat-file", "-t", before) == "commit"


def test_every_stash_is_kept(box: Box) -> None:
    three_stashes(box)
    ids = git(box.api, "rev-list", "-g", "refs/stash").decode().split()
    box.pull()
    assert [box.home_git("cat-file", "blob", f"{oid}:README.md") for oid in ids] == ["stash 2", "stash 1", "stash 0"]
    assert [box.home_git("rev-parse", box.ref(f"stashes/{at}")) for at in range(3)] == ids


def test_a_commit_that_was_reset_away_is_kept(box: Box) -> None:
    reset_away(box)
    lost = git(box.api, "rev-parse", "HEAD@{1}").decode()
    box.pull()
    assert box.home_git("cat-file", "blob", f"{lost}:lost.txt") == "lost and found"


def test_hidden_flags_do_not_hide_a_change(box: Box) -> None:
    box.commit("other.txt", "other\n")
    git(box.api, "update-index", "--assume-unchanged", "README.md")
    git(box.api, "update-index", "--skip-worktree", "other.txt")
    (box.api / "README.md").write_text("hidden\n")
    (box.api / "other.txt").write_text("hidden too\n")
    box.pull()
    assert (box.stored("snapshot", "README.md"), box.stored("snapshot", "other.txt")) == ("hidden", "hidden too")


def test_a_sparse_checkout_does_not_look_like_a_deletion(box: Box) -> None:
    box.commit("kept/a", "a\n")
    box.commit("apart/b", "b\n")
    git(box.api, "sparse-checkout", "set", "kept")
    assert not (box.api / "apart").exists()
    box.pull()
    assert box.stored("snapshot", "apart/b") == "b"


def test_bytes_are_kept_that_filters_and_line_endings_would_alter(box: Box) -> None:
    (box.api / ".gitattributes").write_text("*.txt text=auto ident\n*.bin filter=shout\n")
    git(box.api, "config", "core.autocrlf", "true")
    git(box.api, "config", "filter.shout.clean", "tr a-z A-Z")
    git(box.api, "config", "core.trustctime", "false")
    content = b"one\r\n$Id: 123 $\r\n"
    (box.api / "a.txt").write_bytes(content)
    (box.api / "b.bin").write_bytes(b"quiet")
    git(box.api, "add", ".")
    git(box.api, "commit", "-q", "-m", "filtered")
    box.pull()
    assert (box.folder() / "api/a.txt").read_bytes() == content
    assert (box.folder() / "api/b.bin").read_bytes() == b"quiet"


def test_a_change_of_equal_size_and_time_is_seen(box: Box) -> None:
    git(box.api, "config", "core.trustctime", "false")
    git(box.api, "config", "core.checkStat", "minimal")
    before = (box.api / "README.md").stat()
    (box.api / "README.md").write_text("jello\n")
    os.utime(box.api / "README.md", ns=(before.st_atime_ns, before.st_mtime_ns))
    box.pull()
    assert (box.folder() / "api/README.md").read_bytes() == b"jello\n"


def test_ignored_files_come_home_apart_and_rebuildable_folders_do_not(box: Box) -> None:
    ignored(box)
    done = box.pull()
    assert done.complete
    assert box.stored("ignored", "build.log") == "built"
    assert sorted(path.name for path in (box.folder() / "api").iterdir()) == [".gitignore", "README.md"]
    notes = json.loads((box.folder() / "receipt.json").read_text())["units"][0]["notes"]
    assert notes == [{"path": "node_modules", "reason": "waived", "bytes": 0}]


def test_too_many_ignored_bytes_are_named_and_the_pull_is_not_complete(box: Box) -> None:
    (box.api / ".gitignore").write_text("big/\n")
    (box.api / "big").mkdir()
    (box.api / "big/blob").write_bytes(b"x" * 5000)
    done = box.pull(limits=Limits(ignored_bytes=4000))
    assert (done.result, done.complete) == ("partial", False)
    assert [(item.path, item.reason) for item in done.incomplete] == [("api/big", "ignored")]


def test_a_private_exclude_file_hides_nothing(box: Box) -> None:
    (box.api / ".git/info/exclude").write_text("*\n")
    (box.api / "work.txt").write_text("work\n")
    assert box.pull().complete
    assert (box.folder() / "api/work.txt").read_text() == "work\n"


def test_nested_and_unexpected_repositories_are_repositories_of_their_own(box: Box) -> None:
    nested(box)
    unexpected(box)
    done = box.pull()
    assert [repo.name for repo in done.repos] == ["api", "api/vendor/inner", "scratch"]
    assert (box.folder() / "api/vendor/inner/dirty.txt").read_text() == "dirty\n"
    assert (box.folder() / "workspace/scratch/idea.txt").read_text() == "an idea\n"
    assert box.stored("heads/main", "in.txt", repo="api=2Fvendor=2Finner") == "inner"


def test_a_dirty_submodule_is_kept_and_so_is_its_place(box: Box) -> None:
    submodule(box)
    done = box.pull()
    assert [repo.name for repo in done.repos] == ["api", "api/sub"]
    assert (box.folder() / "api/sub/sub.txt").read_text() == "dirty submodule\n"
    assert "160000 commit" in box.home_git("ls-tree", box.ref("snapshot"), "sub")


def test_a_workspace_that_is_itself_a_repository(box: Box) -> None:
    git(box.workspace, "init", "-q")
    (box.workspace / "top.txt").write_text("top\n")
    done = box.pull()
    assert [repo.name for repo in done.repos] == [".", "api"]
    assert (box.folder() / "workspace/top.txt").read_text() == "top\n"
    assert (box.folder() / "api/README.md").read_text() == "hello\n"


@pytest.mark.parametrize("name", ["HEAD^{commit}", "HEAD^{tree}"])
@pytest.mark.parametrize("detached", [True, False], ids=["detached", "on a branch"])
def test_a_head_of_which_something_is_lost_is_named_and_not_taken_for_unborn(
        box: Box, name: str, detached: bool) -> None:
    box.commit("new.txt", "new\n")
    if detached:
        git(box.api, "checkout", "-q", "--detach")
        git(box.api, "branch", "-q", "-D", "main")
        box.commit("newer.txt", "newer\n")
    box.pull()
    oid = git(box.api, "rev-parse", name).decode().strip()
    (box.api / ".git/objects" / oid[:2] / oid[2:]).unlink()
    done = box.pull()
    assert done.result == "partial"
    assert any(item.path.startswith("api") for item in done.incomplete)


def test_fifos_sockets_and_unreadable_things_are_named(box: Box) -> None:
    os.mkfifo(box.api / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(box.workspace / "sock"))
        done = box.pull()
    assert done.result == "partial"
    assert sorted((item.path, item.reason) for item in done.incomplete) == [
        ("api/pipe", "special"), ("workspace/sock", "special")]
    assert (box.folder() / "api/README.md").exists()


def test_names_that_git_would_refuse_are_named_and_the_rest_comes_home(box: Box) -> None:
    for name in (".GIT", "sub/git~1", ".g\u200cit"):
        (box.api / name).mkdir(parents=True)
        (box.api / name / "config").write_text("evil\n")
    (box.api / ".gitmodules").symlink_to("README.md")
    done = box.pull()
    assert done.result == "partial"
    assert sorted((item.path, item.reason) for item in done.incomplete) == [
        ("api/.GIT", "path.git"), (r"api/.g\xe2\x80\x8cit", "path.git"), ("api/.gitmodules", "path.git"),
        ("api/sub/git~1", "path.git")]
    assert (box.folder() / "api/README.md").exists()


def test_a_tracked_fixture_that_looks_like_a_bare_repository_is_content(box: Box) -> None:
    git(box.base, "clone", "-q", "--bare", str(box.api), "fixture.git")
    git(box.base / "fixture.git", "update-ref", "refs/heads/loose", "main")
    (box.base / "fixture.git").rename(box.api / "fixture.git")
    git(box.api, "add", ".")
    git(box.api, "commit", "-q", "-m", "a fixture")
    done = box.pull()
    assert [repo.name for repo in done.repos] == ["api"]
    assert ("api/fixture.git/HEAD", "path.repository") in [(item.path, item.reason) for item in done.refused]
    assert (box.folder() / "api/fixture.git/config").exists()
    assert not (box.folder() / "api/fixture.git/HEAD").exists()
    assert box.stored("snapshot", "fixture.git/HEAD") == "ref: refs/heads/main"


@pytest.mark.parametrize("wanted", ["git.shallow", "git.format", "git.broken", "git.connectivity"])
def test_a_repository_that_cannot_be_read_comes_home_as_files_and_is_named(box: Box, wanted: str) -> None:
    if wanted == "git.shallow":
        box.commit("b", "b\n")
        git(box.base, "clone", "-q", "--depth=1", f"file://{box.api}", "shallow")
        (box.api).rename(box.base / "old")
        (box.base / "shallow").rename(box.api)
    elif wanted == "git.format":
        git(box.base, "init", "-q", "--object-format=sha256", "new")
        box.commit("README.md", "hello\n", box.base / "new")
        (box.api).rename(box.base / "old")
        (box.base / "new").rename(box.api)
    elif wanted == "git.broken":
        (box.api / ".git/HEAD").write_text("nonsense\n")
    else:
        lost = box.commit("b", "b\n")
        box.commit("b", "c\n")
        blob = git(box.api, "rev-parse", f"{lost}:b").decode()
        (box.api / ".git/objects" / blob[:2] / blob[2:]).unlink()
    (box.api / "work.txt").write_text("work\n")
    done = box.pull()
    assert done.result == "partial"
    assert [(item.path, item.reason) for item in done.incomplete] == [("api/.git", wanted)]
    assert (box.folder() / "api/work.txt").read_text() == "work\n"
    assert box.pull().result == "unchanged"


def test_a_repository_that_went_away_stays_in_the_store(box: Box) -> None:
    box.pull()
    (box.api).rename(box.base / "gone")
    done = box.pull()
    assert (done.result, done.generation, done.repos, done.complete) == ("new", 2, (), True)
    assert json.loads((box.folder() / "receipt.json").read_text())["gone"] == ["api"]
    assert not (box.folder() / "api").exists()
    assert box.stored("snapshot", "README.md", 1) == "hello"
    assert box.pull().result == "unchanged"


def test_a_repository_that_was_never_seen_is_missed(box: Box) -> None:
    done = box.pull(repos=["api", "web"])
    assert done.result == "partial"
    assert [(item.path, item.reason) for item in done.incomplete] == [("web", "repo.missing")]


def test_code_of_the_sandbox_is_not_run_by_a_pull_but_would_be_by_git(box: Box) -> None:
    sprung = box.base / "sprung"
    (box.api / ".gitattributes").write_text("* filter=trip diff=trip\n")
    for hook in ("pre-commit", "post-index-change", "reference-transaction", "post-checkout"):
        (box.api / ".git/hooks").mkdir(exist_ok=True)
        (box.api / ".git/hooks" / hook).write_text(f"#!/bin/sh\ntouch {sprung}\n")
        (box.api / ".git/hooks" / hook).chmod(0o755)
    for key in ("core.fsmonitor", "filter.trip.clean", "filter.trip.smudge", "filter.trip.process",
                "diff.trip.textconv", "core.sshCommand", "core.editor", "core.pager", "uploadpack.packObjectsHook"):
        git(box.api, "config", key, f"touch {sprung}; false")
    (box.api / "README.md").write_text("changed\n")
    done = box.pull()
    assert (done.result, done.complete) == ("new", True)
    assert not sprung.exists()
    git(box.api, "status")
    assert sprung.exists()


def test_a_partial_clone_fetches_nothing_and_is_named(box: Box) -> None:
    sprung = box.base / "sprung"
    box.commit("big", "big\n")
    box.commit("big", "bigger\n")
    git(box.api, "config", "uploadpack.allowFilter", "true")
    (box.api).rename(box.base / "origin")
    git(box.workspace, "clone", "-q", "--filter=blob:none", f"file://{box.base}/origin", "api")
    git(box.api, "config", "remote.origin.uploadpack", f"touch {sprung}; git-upload-pack")
    done = box.pull()
    assert [(item.path, item.reason) for item in done.incomplete] == [("api/.git", "git.connectivity")]
    assert not sprung.exists()
    git(box.api, "cat-file", "blob", "HEAD~1:big")
    assert sprung.exists()
