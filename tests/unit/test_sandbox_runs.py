"""Runs over a sandbox that is a folder of this machine: the real program inside, with a shell script for pi."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pifleet.errors import SandboxFailed
from pifleet.fleet import Limits, Sandbox
from pifleet.sandbox import run_agent, runs
from pifleet.sandbox.outcome import End
from pifleet.sandbox.runs import Said
from pifleet.stream import LocalStream

ANA = Sandbox("ana", "main", "docker", "dry", Limits())


class Folder:
    """A driver whose inside is a home folder and a PATH of its own."""

    def __init__(self, home: Path) -> None:
        self.env = {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}
        self.program: list[str] | None = None

    def stream(self, sandbox, argv, workdir="/", place="work"):
        argv = [sys.executable, *argv[1:]] if argv[0] == "python3" else argv
        return LocalStream(self.program or argv, env=self.env)


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """A sandbox in which `pi` is the given shell script."""
    monkeypatch.setattr(runs, "WORKSPACE", str(tmp_path))

    def made(script: str) -> Folder:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/pi").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / "bin/pi").chmod(0o755)
        return Folder(tmp_path)

    return made


def followed(driver, run, offset=0) -> tuple[list, End]:
    *said, end = runs.follow(driver, ANA, run, offset)
    return [item.event for item in said if item.event], end


def test_the_prompt_is_pis_input_and_its_lines_come_back(inside):
    driver = inside("""printf '{"prompt": "%s"}\\n' "$(cat)"; echo '{"args": "'"$*"'"}'""")
    events, end = followed(driver, runs.start(driver, ANA, "- do it\u2028"))
    assert events == [{"prompt": "- do it\u2028"}, {"args": "--mode json -p"}]
    assert (end.code, end.why) == (0, "")


def test_the_run_is_written_down_for_its_user_only(inside, tmp_path):
    driver = inside("echo '{}'; echo warning >&2; exit 3")
    run = runs.start(driver, ANA, "task")
    _, end = followed(driver, run)
    folder = tmp_path / ".pifleet/runs" / run
    assert sorted(path.name for path in folder.iterdir()) == [
        "alive", "events.jsonl", "exit.json", "prompt.txt", "stderr.txt"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (end.code, end.stderr) == (3, "warning\n")
    assert json.loads((folder / "exit.json").read_text())["code"] == 3


def test_following_goes_on_from_an_offset(inside):
    driver = inside("echo '{\"n\": 1}'; echo '{\"n\": 2}'")
    run = runs.start(driver, ANA, "x")
    first = next(runs.follow(driver, ANA, run))
    assert isinstance(first, Said)
    assert followed(driver, run, first.offset)[0] == [{"n": 2}]


def test_a_quiet_run_gives_pulses(inside, monkeypatch, tmp_path):
    source = Path(run_agent.__file__).read_text(encoding="utf-8").replace("PULSE_SECONDS = 5", "PULSE_SECONDS = 0.1")
    driver = inside("until [ -e \"$HOME/over\" ]; do sleep 0.05; done; echo '{}'")
    run = runs.start(driver, ANA, "x")
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: source)
    following = runs.follow(driver, ANA, run)
    assert next(following) == Said(0)
    (tmp_path / "over").touch()
    assert list(following)


def test_a_deadline_ends_pi_and_what_it_started(inside, tmp_path):
    driver = inside("sleep 300 & echo $! > \"$HOME/child\"; wait")
    began = time.monotonic()
    _, end = followed(driver, runs.start(driver, ANA, "x", deadline=0.5))
    assert (end.why, time.monotonic() - began < 8) == ("deadline", True)
    child = int((tmp_path / "child").read_text())
    assert not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text()


def test_stopping_ends_it_and_stopping_again_does_nothing(inside):
    driver = inside("exec sleep 300")
    run = runs.start(driver, ANA, "x")
    assert [(item.id, item.end) for item in runs.listing(driver, ANA)] == [(run, None)]
    runs.stop(driver, ANA, run)
    runs.stop(driver, ANA, run)
    assert followed(driver, run)[1].why == "stopped"


def test_a_run_whose_supervisor_was_killed_is_lost(inside, tmp_path):
    driver = inside("exec sleep 2")
    run = runs.start(driver, ANA, "x")
    alive = tmp_path / ".pifleet/runs" / run / "alive"
    while not alive.read_text():
        time.sleep(0.02)
    os.kill(int(alive.read_text()), signal.SIGKILL)
    assert followed(driver, run)[1].why == "lost"


def test_a_pi_that_is_not_there_is_an_error_of_the_run(inside, tmp_path):
    driver = inside("true")
    (tmp_path / "bin/pi").unlink()
    driver.env["PATH"] = str(tmp_path / "bin")
    assert "No such file" in followed(driver, runs.start(driver, ANA, "x"))[1].error


def test_lines_that_are_no_events_or_too_long_are_passed_over(inside):
    driver = inside("echo noise; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo '[1]'; echo '{\"n\": 1}';"
                    "printf '{\"n\": 2}'")
    assert followed(driver, runs.start(driver, ANA, "x"))[0] == [{"n": 1}, {"n": 2}]


def test_runs_are_listed_oldest_first_with_their_prompts(inside, monkeypatch):
    driver = inside("true")
    assert runs.listing(driver, ANA) == []
    names = iter(["20260101T000000-b", "20260101T000000-a"])
    monkeypatch.setattr(runs, "new_id", lambda: next(names))
    for prompt in ("first", "second"):
        followed(driver, runs.start(driver, ANA, prompt))
    assert [(item.id[-1], item.prompt) for item in runs.listing(driver, ANA)] == [("a", "second"), ("b", "first")]


def test_a_run_that_is_not_there_is_refused(inside):
    driver = inside("true")
    for ask in (lambda: followed(driver, "x"), lambda: runs.stop(driver, ANA, "x")):
        with pytest.raises(SandboxFailed) as caught:
            ask()
        assert caught.value.trouble.headline == "ana/main: there is no such run"


@pytest.mark.parametrize("script", [
    "echo no json", "echo '[]'", "echo '{\"at\": \"x\"}'", "yes | tr -d '\\n'", "printf '{\"at\": 1'",
])
def test_an_answer_of_a_wrong_shape_is_refused(inside, script):
    driver = inside("true")
    driver.program = ["sh", "-c", f"cat >/dev/null; {script}"]
    with pytest.raises(SandboxFailed) as caught:
        followed(driver, "x")
    assert caught.value.trouble.headline == "ana/main gave an answer of a wrong shape"


def test_a_sandbox_that_falls_silent_is_left(inside, monkeypatch):
    monkeypatch.setattr("pifleet.sandbox.inside.SILENCE_SECONDS", 0.3)
    driver = inside("true")
    driver.program = ["sleep", "60"]
    with pytest.raises(SandboxFailed) as caught:
        followed(driver, "x")
    assert "did not answer" in caught.value.trouble.headline


def test_an_exec_that_fails_is_quoted(inside):
    driver = inside("true")
    driver.program = ["sh", "-c", "echo 'Error: No such container: pi-ana-main' >&2; exit 1"]
    with pytest.raises(SandboxFailed) as caught:
        runs.start(driver, ANA, "x" * 1_000_000)
    assert caught.value.trouble.saw == "Error: No such container: pi-ana-main"


def test_a_stream_that_ends_without_an_end_is_a_loss_that_can_be_followed_again(inside):
    driver = inside("true")
    driver.program = ["sh", "-c", "cat >/dev/null; echo '{\"at\": 5}'"]
    with pytest.raises(SandboxFailed) as caught:
        followed(driver, "r1")
    assert caught.value.trouble.try_ == "pifleet logs -f ana/main"


def test_names_of_runs_sort_by_time_and_differ():
    assert len({runs.new_id() for _ in range(100)}) == 100
    assert runs.new_id()[:15] <= runs.new_id()[:15]
