"""Generations: each pull adds one or none, whole or not at all, whatever happens meanwhile."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pifleet.errors import HostFailed, PifleetError, SandboxFailed
from pifleet.results import Limits, list_generations, reserved
from pifleet.stream import LocalStream
from tests.results.box import Box, files, git


def test_a_second_pull_adds_a_generation_and_leaves_the_first_in_the_store(box: Box) -> None:
    box.pull()
    (box.api / "README.md").unlink()
    box.commit("new.txt", "new\n")
    done = box.pull()
    assert (done.result, done.generation, done.path) == ("new", 2, box.folder())
    assert [path.name for path in (box.folder() / "api").iterdir()] == ["new.txt"]
    assert box.stored("snapshot", "README.md", 1) == "hello"


def test_only_what_is_new_is_sent(box: Box) -> None:
    (box.api / "random.bin").write_bytes(os.urandom(300_000))
    (box.sessions / "old.jsonl").write_bytes(os.urandom(200_000))
    assert box.pull().bytes > 500_000
    (box.api / "small.txt").write_text("small\n")
    done = box.pull()
    assert done.result == "new"
    assert done.bytes < 5000
    assert (box.folder() / "api/random.bin").read_bytes() == (box.api / "random.bin").read_bytes()


def test_the_json_has_the_agreed_shape(box: Box) -> None:
    told = box.pull().as_json()
    assert list(told) == ["sandbox", "generation", "result", "seconds", "bytes", "repos", "refused", "incomplete",
                          "both_kept", "path", "error"]
    assert list(told["repos"][0]) == ["name", "head", "snapshot", "files"]
    assert json.loads(json.dumps(told)) == told


def test_the_receipt_in_the_folder_is_the_one_that_the_store_vouches_for(box: Box) -> None:
    box.pull()
    generation = "refs/sandbox/ana-main/gen/1/generation"
    stored = box.home_git("cat-file", "blob", f"{generation}:receipt.json")
    assert (box.folder() / "receipt.json").read_text().strip() == stored
    assert re.search(r"^receipt sha256: [0-9a-f]{64}$", box.home_git("log", "-1", "--format=%b", generation), re.M)


def test_results_are_their_owners_only(box: Box) -> None:
    box.results.mkdir(mode=0o755)
    box.pull()
    for folder in (box.results, box.results / ".store", box.folder()):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_generations_are_listed_with_the_sandbox_gone(box: Box) -> None:
    assert list_generations(box.results, "ana-main") == []
    box.pull()
    box.commit("two", "2\n")
    os.mkfifo(box.api / "pipe")
    box.pull()
    listed = list_generations(box.results, "ana-main")
    assert [(one.number, one.complete) for one in listed] == [(1, True), (2, False)]
    assert [(item.path, item.reason) for item in listed[1].incomplete] == [("api/pipe", "special")]
    assert [one.as_json()["path"] for one in listed] == [None, str(box.folder())]


def test_a_damaged_store_is_an_error_with_its_place(box: Box) -> None:
    box.pull()
    store = box.results / ".store/ana-main.git"
    box.home_git("update-ref", "refs/sandbox/ana-main/gen/1/generation", box.home_git("rev-parse", box.ref("snapshot")))
    with pytest.raises(PifleetError, match="damaged") as error:
        list_generations(box.results, "ana-main")
    assert error.value.trouble.where == str(store)


def test_two_pulls_of_one_sandbox_do_not_run_at_once(box: Box) -> None:
    inside = threading.Event()
    leave = threading.Event()

    def slow(argv: Sequence[str]) -> LocalStream:
        inside.set()
        leave.wait(20)
        return box.open(argv)

    first = threading.Thread(target=box.pull, kwargs={"open_stream": slow})
    first.start()
    inside.wait(20)
    second = box.pull()
    leave.set()
    first.join()
    assert second.result == "refused"
    assert second.trouble
    assert re.search(rf"busy: .* on .*, process {os.getpid()}, since 20..-", second.trouble.saw)
    assert [one.number for one in list_generations(box.results, "ana-main")] == [1]


def test_a_folder_that_somebody_removed_is_written_again(box: Box) -> None:
    box.pull()
    before = files(box.folder())
    subprocess.run(["rm", "-r", box.folder()], check=True)
    assert box.pull().result == "unchanged"
    assert files(box.folder()) == before


def test_a_pull_waits_for_a_removal_and_a_removal_for_a_pull(box: Box) -> None:
    with reserved(box.results, "ana-main", "removal"):
        done = box.pull()
    assert done.trouble
    assert re.search(rf"busy: .*removal by .* on .*, process {os.getpid()}, since 20..-", done.trouble.saw)
    refused: list[SandboxFailed] = []

    def removing_meanwhile(argv: Sequence[str]) -> LocalStream:
        with pytest.raises(SandboxFailed) as error, reserved(box.results, "ana-main", "removal"):
            pass
        refused.append(error.value)
        return box.open(argv)

    assert box.pull(open_stream=removing_meanwhile).result == "new"
    assert "pull by" in refused[0].trouble.saw


def test_a_number_is_never_used_twice_even_if_the_store_is_lost(box: Box) -> None:
    box.pull()
    subprocess.run(["rm", "-r", box.results / ".store"], check=True)
    assert box.pull().generation == 2


def test_a_pull_killed_anywhere_leaves_whole_generations_and_the_next_one_works(box: Box) -> None:
    for number in range(60):
        (box.api / f"file{number}").write_bytes(os.urandom(20_000))
    script = "import sys; from pathlib import Path; from tests.results.box import Box; box = Box.at(Path(sys.argv[1]));"
    for attempt in range(8):
        (box.api / "counter").write_text(str(attempt))
        child = subprocess.Popen([sys.executable, "-c", script + "box.pull()", str(box.base)], start_new_session=True)
        time.sleep(0.35 + attempt * 0.12)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for one in list_generations(box.results, "ana-main"):
            if one.path:
                assert len(files(one.path / "api")) == 62
        if (box.results / ".store/ana-main.git").exists():
            assert box.home_git("fsck", "--no-dangling") == ""
    done = box.pull()
    assert done.result in ("new", "unchanged")
    assert files(box.folder() / "api")["counter"] == b"7"
    assert [path for path in files(box.folder()) if ".pifleet-" in path or ".generation-" in path] == []
    assert not (box.results / ".store/ana-main.git/incoming").exists()


def test_a_writer_at_work_is_noticed_and_does_not_break_the_pull(box: Box) -> None:
    busy = box.api / "busy.bin"
    busy.write_bytes(b"x" * (40 << 20))
    # A process of its own: a thread would write only when the pull lets go of the interpreter.
    program = ("import os, sys; file = os.open(sys.argv[1], os.O_RDWR); print(flush=True)\n"
               "while True: os.pwrite(file, os.urandom(8), 0)")
    with subprocess.Popen([sys.executable, "-c", program, str(busy)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        writer.stdout.readline()
        done = box.pull()
        writer.kill()
    assert done.result == "partial"
    assert [(item.path, item.reason) for item in done.incomplete] == [("api/busy.bin", "changed")]
    assert (box.folder() / "api/busy.bin").stat().st_size == 40 << 20
    assert box.pull().result == "new"


def test_files_larger_than_memory_allows_are_streamed(box: Box) -> None:
    with (box.api / "hole.bin").open("wb") as file:
        file.seek(150 << 20)
        file.write(b"end")
    done = box.pull()
    assert (done.result, done.complete) == ("new", True)
    assert (box.folder() / "api/hole.bin").stat().st_size == (150 << 20) + 3
    assert box.pull().result == "unchanged"


def test_a_file_beyond_the_limit_is_named_and_the_rest_comes_home(box: Box) -> None:
    with (box.api / "sparse-1TiB").open("wb") as file:
        file.truncate(1 << 40)
    done = box.pull()
    assert [(item.path, item.reason) for item in done.incomplete] == [("api/sparse-1TiB", "limit.file")]
    assert (box.folder() / "api/README.md").exists()


def test_more_files_than_the_limit_are_refused(box: Box) -> None:
    for number in range(50):
        (box.api / str(number)).touch()
    done = box.pull(limits=Limits(files=40))
    assert done.trouble
    assert (done.result, done.trouble.saw.partition(":")[0]) == ("refused", "limit.files")


def test_progress_names_what_is_being_received(box: Box) -> None:
    heard: list[tuple[str, int]] = []
    done = box.pull(progress=lambda what, size: heard.append((what, size)))
    assert {what for what, _ in heard} == {"receiving"}
    assert 0 < heard[0][1] <= heard[-1][1] <= done.bytes


def test_a_host_that_does_not_answer_is_a_row_with_its_own_words(box: Box) -> None:
    def unreachable(argv: Sequence[str]) -> LocalStream:
        raise HostFailed("farm-1 is silent", unreachable=True, try_="pifleet doctor")

    done = box.pull(open_stream=unreachable)
    assert done.trouble
    assert (done.result, done.trouble.headline, done.trouble.try_) == ("failed", "farm-1 is silent", "pifleet doctor")


def test_a_sandbox_without_its_workspace_is_a_failure_not_an_empty_result(box: Box) -> None:
    done = box.pull(workspace="/nonexistent")
    assert done.trouble
    assert (done.result, done.trouble.saw) == (
        "failed", "capture.workspace: the capture gave up: there is no folder /nonexistent")


def test_missing_session_logs_are_no_failure(box: Box) -> None:
    assert box.pull(sessions="/nonexistent").complete


@pytest.mark.parametrize("name", ["ana", "../x/y", "ana/..", "-o/x", "a/b/c", "ana/\n"])
def test_a_name_that_is_none_is_our_own_mistake(box: Box, name: str) -> None:
    with pytest.raises(ValueError, match="not developer/name"):
        box.pull(sandbox=name)


def test_a_capture_that_loses_its_reader_leaves_nothing_behind(box: Box) -> None:
    (box.api / "big.bin").write_bytes(os.urandom(30 << 20))
    taken: list[LocalStream] = []

    def closing_early(argv: Sequence[str]) -> LocalStream:
        taken.append(box.open(argv))
        read, seen = taken[0].read, []

        def some(size: int, timeout: float) -> bytes:
            seen.append(read(size, timeout))
            if len(seen) > 5:
                assert taken[0]._child.stdout
                taken[0]._child.stdout.close()
                assert taken[0].wait(30) == 141
                raise HostFailed("the line is cut")
            return seen[-1]

        taken[0].read = some  # type: ignore[method-assign]
        return taken[0]

    assert box.pull(open_stream=closing_early).result == "failed"
    assert sorted(path.name for path in box.home.iterdir()) == [".cache", ".pi"]


@contextmanager
def small_disk(at: Path) -> Iterator[None]:
    at.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90m", "tmpfs", at], capture_output=True).returncode:
        pytest.skip("a full disk is made by mounting a small tmpfs, which needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", at], check=True)


def test_a_full_disk_fails_with_the_old_generation_whole_and_the_room_given_back(box: Box) -> None:
    with small_disk(box.results):
        box.pull()
        before = files(box.folder())
        (box.api / "huge.bin").write_bytes(os.urandom(120 << 20))
        done = box.pull()
        assert done.trouble
        assert (done.result, done.trouble.saw.partition(":")[0]) == ("failed", "io.space")
        assert "make room in" in done.trouble.try_
        assert files(box.folder()) == before
        used = subprocess.run(["du", "-sm", box.results], capture_output=True, text=True, check=True).stdout.split()[0]
        assert int(used) < 5
        (box.api / "huge.bin").unlink()
        assert box.pull().result == "unchanged"


def test_old_generations_share_what_did_not_change(box: Box) -> None:
    (box.api / "random.bin").write_bytes(os.urandom(1 << 20))
    for number in range(5):
        box.commit("counter", f"{number}\n")
        assert box.pull().generation == number + 1
    packs = (box.results / ".store/ana-main.git/objects/pack").glob("*.pack")
    assert sum(path.stat().st_size for path in packs) < 1_300_000
    assert git(box.api, "rev-parse", "HEAD").decode() == box.home_git("rev-parse", box.ref("heads/main", 5))
