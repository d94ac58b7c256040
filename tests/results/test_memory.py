"""What both ends remember spares reading and sending, and never decides what is true."""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pifleet.errors import HostFailed
from pifleet.results import Limits
from pifleet.stream import LocalStream
from tests.results.box import Box, files, git

CACHE = ".cache/pifleet/results"


def aged(box: Box) -> None:
    """Make all files old enough that their times are believed."""
    for path in (*box.workspace.rglob("*"), *box.sessions.rglob("*")):
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    time.sleep(2.1)  # the time of the change itself cannot be set


def test_an_unchanged_sandbox_answers_in_a_few_bytes_whatever_it_holds(box: Box) -> None:
    for number in range(300):
        (box.workspace / f"file{number}").write_bytes(os.urandom(2000))
    box.pull()
    done = box.pull()
    assert (done.result, done.complete) == ("unchanged", True)
    assert done.bytes < 200


def test_a_lost_memory_costs_bytes_and_nothing_else(box: Box) -> None:
    (box.workspace / "work").write_bytes(os.urandom(50_000))
    box.pull()
    subprocess.run(["rm", "-r", box.home / ".cache"], check=True)
    done = box.pull()
    assert (done.result, done.generation) == ("unchanged", 1)
    assert done.bytes > 50_000
    assert box.pull().bytes < 200


@pytest.mark.parametrize("damage", [b"", b"nonsense", None], ids=["empty", "noise", "cut"])
def test_a_damaged_memory_is_no_memory(box: Box, damage: bytes | None) -> None:
    box.pull()
    kept = next((box.home / CACHE).iterdir()) / "memory"
    kept.write_bytes(kept.read_bytes()[:-7] if damage is None else damage)
    (box.api / "more").write_text("more\n")
    done = box.pull()
    assert (done.result, done.complete, done.generation) == ("new", True, 2)
    assert box.stored("snapshot", "more", 2) == "more"


def test_a_memory_of_another_home_is_not_taken_for_ours(box: Box, tmp_path: Path) -> None:
    (box.api / "work").write_text("work\n")
    box.pull()
    other = box.pull(store=tmp_path / "second")
    assert (other.result, other.generation, other.complete) == ("new", 1, True)
    (box.api / "work").write_text("more work\n")
    assert [box.pull(store=store).result for store in (box.results, tmp_path / "second")] == ["new", "new"]
    assert files(tmp_path / "second/ana/main/api")["work"] == b"more work\n"


def test_a_change_is_seen_when_size_and_time_are_as_before(box: Box) -> None:
    aged(box)
    box.pull()
    before = (box.api / "README.md").stat()
    (box.api / "README.md").write_text("jello\n")
    os.utime(box.api / "README.md", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert box.pull().generation == 2
    assert box.stored("snapshot", "README.md", 2) == "jello"


def test_a_file_that_became_executable_or_a_link_is_seen(box: Box) -> None:
    (box.api / "tool").write_text("#!/bin/sh\n")
    aged(box)
    box.pull()
    (box.api / "tool").chmod(0o755)
    assert box.pull().generation == 2
    assert box.home_git("ls-tree", box.ref("snapshot", 2), "tool").startswith("100755")
    (box.api / "tool").unlink()
    (box.api / "tool").symlink_to("README.md")
    box.pull()
    assert box.home_git("ls-tree", box.ref("snapshot", 3), "tool").startswith("120000")


def test_only_the_blocks_of_a_big_file_that_changed_are_sent(box: Box) -> None:
    big = box.workspace / "big.bin"
    big.write_bytes(os.urandom(20 << 20))
    assert box.pull().bytes > 20 << 20
    with big.open("r+b") as file:
        file.seek(7_000_000)
        file.write(os.urandom(100_000))
    done = box.pull()
    assert done.bytes < 500_000
    assert (box.folder() / "workspace/big.bin").read_bytes() == big.read_bytes()
    with big.open("ab") as file:
        file.write(os.urandom(1000))
    assert box.pull().bytes < 200_000
    assert (box.folder() / "workspace/big.bin").read_bytes() == big.read_bytes()


def test_a_big_file_that_is_committed_is_not_sent_twice(box: Box) -> None:
    (box.api / "big.bin").write_bytes(os.urandom(3 << 20))
    git(box.api, "add", ".")
    git(box.api, "commit", "-q", "-m", "big")
    assert box.pull().bytes < 3.2 * (1 << 20)
    assert box.home_git("cat-file", "-s", f"{box.ref('snapshot')}:big.bin") == str(3 << 20)


def cut_after(box: Box, size: int, taken: list[int]) -> object:
    """A line that breaks when this many bytes have come."""
    def open_stream(argv: Sequence[str]) -> LocalStream:
        stream = box.open(argv)
        read = stream.read

        def some(most: int, timeout: float) -> bytes:
            data = read(most, timeout)
            taken.append(len(data))
            if sum(taken) > size:
                raise HostFailed("the line is cut", unreachable=True)
            return data

        stream.read = some  # type: ignore[method-assign]
        return stream
    return open_stream


@pytest.mark.parametrize("kind", ["files", "history"])
def test_a_pull_that_was_cut_goes_on_where_it_was(box: Box, kind: str) -> None:
    for number in range(400):
        (box.api / f"file{number}").write_bytes(os.urandom(100_000))
    if kind == "history":
        git(box.api, "add", ".")
        git(box.api, "commit", "-q", "-m", "work")
    first: list[int] = []
    done = box.pull(open_stream=cut_after(box, 25_000_000, first))
    assert (done.result, done.generation) == ("failed", None)
    second = box.pull()
    assert (second.result, second.complete) == ("new", True)
    assert second.bytes + 25_000_000 < 40_000_000 + 9_500_000
    assert files(box.folder() / "api")["file7"] == (box.api / "file7").read_bytes()
    assert not (box.results / ".store/ana-main.git/incoming").exists()


def test_what_is_left_of_a_broken_answer_is_forgotten_after_some_days(box: Box) -> None:
    for number in range(200):
        (box.api / f"file{number}").write_bytes(os.urandom(100_000))
    box.pull(open_stream=cut_after(box, 15_000_000, []))
    left = box.results / ".store/ana-main.git/incoming/pack"
    for path in left.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert box.pull().bytes > 20_000_000


def test_two_sandboxes_of_one_repository_fetch_its_history_once(box: Box, tmp_path: Path) -> None:
    for number in range(20):
        box.commit(f"file{number}", os.urandom(20_000).hex())
    git(box.base, "clone", "-q", "--bare", str(box.api), "origin.git")
    sizes = []
    for name in ("bo", "cy"):
        other = Box(tmp_path / name)
        subprocess.run(["rm", "-r", other.api], check=True)
        git(other.workspace, "clone", "-q", str(box.base / "origin.git"), "api")
        (other.api / "work").write_text(name)
        done = other.pull(store=box.results, sandbox=f"{name}/main", sandbox_id=f"{name}-main")
        assert (done.result, done.complete) == ("new", True)
        sizes.append(done.bytes)
    assert sizes[0] > 400_000
    assert sizes[1] < 10_000
    store = box.results / ".store/cy-main.git"
    assert git(store, f"--git-dir={store}", "fsck", "--connectivity-only", "--no-dangling") == b""


def test_artifacts_come_home_although_they_are_ignored(box: Box) -> None:
    (box.api / ".gitignore").write_text("dist/\nnode_modules/\n")
    for name in ("dist/app.js", "dist/deep/map.bin", "node_modules/x.js"):
        (box.api / name).parent.mkdir(parents=True, exist_ok=True)
        (box.api / name).write_text(name)
    (box.api / "dist/huge.bin").write_bytes(os.urandom(3 << 20))
    done = box.pull(artifacts=["api/dist/**"], limits=Limits(ignored_bytes=1, idle=30, total=120))
    assert (done.result, done.incomplete) == ("new", ())
    assert box.stored("artifacts", "dist/deep/map.bin") == "dist/deep/map.bin"
    shown = files(box.folder() / "api")
    assert {name for name in shown if "/" in name} == {"dist/app.js", "dist/deep/map.bin", "dist/huge.bin"}
    receipt = json.loads((box.folder() / "receipt.json").read_text())
    assert [note["path"] for note in receipt["units"][0]["notes"]] == ["node_modules"]


def test_a_dropped_stash_comes_home(box: Box) -> None:
    (box.api / "README.md").write_text("dropped\n")
    git(box.api, "stash", "-q")
    lost = git(box.api, "rev-parse", "stash@{0}").decode()
    git(box.api, "stash", "drop", "-q")
    assert box.pull().complete
    assert box.home_git("cat-file", "blob", f"{lost}:README.md") == "dropped"


def test_what_lfs_keeps_for_itself_comes_home(box: Box) -> None:
    kept = box.api / ".git/lfs/objects/ab/cd/abcd"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"a file of another branch")
    assert box.pull().complete
    assert box.stored("operation", "git/lfs/objects/ab/cd/abcd") == "a file of another branch"


def test_sandboxes_of_one_repository_may_be_pulled_side_by_side(box: Box, tmp_path: Path) -> None:
    for number in range(20):
        box.commit(f"file{number}", os.urandom(200).hex() * 20)
    git(box.base, "clone", "-q", "--bare", str(box.api), "origin.git")
    others = []
    for name in ("bo", "cy", "di", "el"):
        other = Box(tmp_path / name)
        subprocess.run(["rm", "-r", other.api], check=True)
        git(other.workspace, "clone", "-q", str(box.base / "origin.git"), "api")
        others.append((name, other))
    with ThreadPoolExecutor(4) as pool:
        for again in range(3):
            for name, other in others:
                other.commit("file3", f"{name} {again}\n" + (other.api / "file3").read_text())
            done = list(pool.map(lambda pair: pair[1].pull(
                store=box.results, sandbox=f"{pair[0]}/main", sandbox_id=f"{pair[0]}-main"), others))
            assert [(one.result, one.trouble) for one in done] == [("new", None)] * 4
