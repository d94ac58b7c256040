"""The bench itself: a relay that only delays and counts, and verdicts that follow from the numbers."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path

from tests.bench.link import Link
from tests.bench.methods import GitFetch, Ours, Sandbox, rsync, tar_zstd
from tests.bench.place import PYTHON, ROOT, git, run, tools
from tests.bench.table import ratio, shown, worst
from tests.bench.workloads import Content, change_lines, names, repository


def counted(folder: Path) -> dict[str, int]:
    told: dict[str, int] = json.loads((folder / "count").read_text())
    return told


def test_the_relay_hands_on_bytes_errors_and_the_exit_code(tmp_path: Path) -> None:
    argv = [*Link(0, tmp_path).argv, "sh", "-c", "cat; echo no >&2; exit 7"]
    done = subprocess.run(argv, input=b"some", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"some", b"no\n")


def test_the_relay_counts_arguments_input_and_output(tmp_path: Path) -> None:
    run([*Link(0, tmp_path).argv, "sh", "-c", "wc -c"], data=b"x" * 300_000)
    assert counted(tmp_path) == {"command": len("sh -c wc -c "), "input": 300_000, "output": 7}


def test_an_answer_takes_a_whole_round(tmp_path: Path) -> None:
    link = Link(200, tmp_path)
    assert link.measure(lambda: run([*link.argv, "cat"], data=b"some")).seconds >= 0.2


def test_many_bytes_pass_at_once_for_all_the_delay(tmp_path: Path) -> None:
    link = Link(200, tmp_path)
    assert link.measure(lambda: run([*link.argv, "head", "-c", "100000000", "/dev/zero"])).seconds < 2


def test_a_reader_that_leaves_ends_the_command(tmp_path: Path) -> None:
    with subprocess.Popen([*Link(0, tmp_path).argv, "yes"], stdout=subprocess.PIPE) as relay:
        assert relay.stdout
        relay.stdout.read(10)
        relay.stdout.close()
        assert relay.wait(30) != 0


def test_sockets_that_do_not_wait_are_taken_too(tmp_path: Path) -> None:
    ours, its = socket.socketpair()
    its.setblocking(False)
    argv = [*Link(0, tmp_path).argv, "cat"]
    with ours, its, subprocess.Popen(argv, stdin=its.fileno(), stdout=its.fileno()) as relay:
        time.sleep(0.1)  # it finds nothing to read at first
        ours.sendall(b"some")
        ours.shutdown(socket.SHUT_WR)
        assert ours.recv(10) == b"some"
        assert relay.wait(30) == 0


def test_every_method_brings_the_same_files_home(tmp_path: Path) -> None:
    tools()
    box, link = Sandbox(tmp_path / "box"), Link(0, tmp_path)
    app = repository(box.workspace / "app", 60, Content(1, 500, every=0))
    change_lines(app, 3, 60, seed=1)
    bare = tmp_path / "bare"
    git(tmp_path, "init", "-q", "--bare", bare)
    GitFetch(app, bare, tmp_path / "beside").fetch(link, snapshot=True)
    rsync(link, app, tmp_path / "rsync")
    tar_zstd(link, app, tmp_path / "tar")
    Ours(box, tmp_path / "results", ["app"], plain=True).pull(link)
    for name in names(60):
        wanted = (app / name).read_bytes()
        assert git(bare, "show", f"refs/sandbox/snapshot:{name}") == wanted.decode().strip()
        assert (tmp_path / "rsync" / name).read_bytes() == (tmp_path / "tar" / name).read_bytes() == wanted
    assert git(app, "status", "--porcelain").count("\n") == 2
    assert {path.name for path in (tmp_path / "results/bench/main").rglob("file*.js")} == {
        name.rpartition("/")[2] for name in names(60)}


def test_a_ratio_is_the_median_of_the_turns() -> None:
    row = ratio("x", "s", [(1.0, 1.0), (9.0, 3.0), (4.0, 2.0)], 1.9)
    assert (row.ours, row.theirs, row.measured, row.ok) == (4.0, 2.0, 2.0, False)


def test_a_promise_for_each_run_is_judged_by_the_worst() -> None:
    assert not worst("x", "B", [10, 1001, 20], 1000).ok
    assert worst("x", "B", [10, 1000], 1000).ok


def test_a_row_without_a_bar_is_never_over() -> None:
    assert ratio("x", "s", [(9.0, 1.0)], None).ok


def test_values_are_short() -> None:
    assert [shown(999, "B"), shown(1500, "B"), shown(2.5e9, "B"), shown(0.123, "s")] == [
        "999 B", "1.5 kB", "2.5 GB", "0.12 s"]


def test_a_process_may_make_any_number_of_pulls_without_plain_files(tmp_path: Path) -> None:
    code = """\
from pathlib import Path
from tests.bench import home
from tests.bench.methods import Ours, Sandbox
for _ in range(2000):
    home.leave_out_plain_files()
box = Sandbox(Path("box"))
(box.workspace / "work.txt").write_text("work")
home.bring(Ours(box, Path("results").absolute()).told())
print(sorted(path.name for path in Path("results/bench/main").iterdir()))
"""
    done = run([PYTHON, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done == b"['receipt.json']\n"
