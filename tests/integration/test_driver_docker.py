"""The docker driver and runs of pi, in a real container with the real pi and the scripted model."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from pathlib import Path

import pytest

from pifleet.errors import SandboxFailed
from pifleet.sandbox import driver_for, runs
from pifleet.sandbox.outcome import End, judge
from pifleet.sandbox.runs import Said
from pifleet.stream import Stream
from tests.integration import boxes
from tests.integration.sshd import SSHD, Sshd

pytestmark = pytest.mark.skipif(not boxes.image()[0], reason="no sandbox image on this engine: scripts/demo makes one")


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, boxes.running(tmp_path_factory.mktemp("box"), patch) as made:
        yield made


@pytest.fixture(scope="module", params=["local", "ssh"])
def driver(request, box, tmp_path_factory):
    """The driver, on this machine reached directly and by ssh."""
    if request.param == "local":
        with driver_for("docker")(boxes.LOCAL) as made:
            yield made
        return
    if SSHD is None:
        pytest.skip("openssh-server is not installed: apt-get install openssh-server")
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    with driver_for("docker")(server.host) as made:
        yield made
    server.stop()


def finished(stream: Stream, data: bytes = b"") -> tuple[bytes, int, bytes]:
    stream.send(data)
    stream.end()
    output = b""
    while chunk := stream.read(65536, 30):
        output += chunk
    code = stream.wait(30)
    stderr = stream.stderr()
    stream.close()
    return output, code, stderr


def followed(driver, box, run: str) -> tuple[list, End]:
    said = list(runs.follow(driver, box.sandbox, run))
    assert isinstance(said[-1], End)
    return [item.event for item in said[:-1] if item.event], said[-1]


def played(driver, box, script: str, deadline: float = 0):
    events, end = followed(driver, box, runs.start(driver, box.sandbox, script, deadline=deadline))
    return judge(events, end)


def test_arguments_and_bytes_reach_the_inside_untouched(driver, box):
    hostile = ["a b", "$(id)", "'", '"', ";", "--", "-n", "", "ü\n", "`id`"]
    output, code, _ = finished(driver.stream(box.sandbox, ["printf", "%s\\0", *hostile]))
    assert (output.decode().split("\0")[:-1], code) == (hostile, 0)
    data = bytes(range(256)) * 2000
    assert finished(driver.stream(box.sandbox, ["cat"]), data)[0] == data


def test_a_program_inside_runs_as_the_sandbox_user_in_its_workspace(driver, box):
    output, _, _ = finished(driver.stream(box.sandbox, ["sh", "-c", "id -u; pwd; echo $HOME"]))
    assert output.decode().split() == [str(box.sandbox.uid), "/workspace", "/home/pi"]
    assert finished(driver.stream(box.sandbox, ["pwd"], workdir="/tmp"))[0] == b"/tmp\n"


def test_the_exit_code_and_standard_error_are_the_programs_own(driver, box):
    _, code, stderr = finished(driver.stream(box.sandbox, ["sh", "-c", "echo no >&2; exit 42"]))
    assert (code, stderr) == (42, b"no\n")


@pytest.mark.slice
def test_a_task_is_done_and_its_answer_comes_back(driver, box):
    script = 'CALL write {"path": "made.txt", "content": "by pi"}\nSAY all done'
    outcome = played(driver, box, script)
    assert (outcome.ok, outcome.sentence, outcome.answer) == (True, "pi answered", "all done")
    assert (Path(str(box.sandbox.root)) / "workspace/made.txt").read_text(encoding="utf-8") == "by pi"


@pytest.mark.parametrize(("script", "sentence"), [
    ("FAIL 401", "the model refused the key (401: scripted failure 401)"),
    ("FAIL 500", "the model's server failed, also after 3 retries (500: scripted failure 500)"),
    ("FAIL 429", "the model's rate limit was reached, also after 3 retries (429: scripted failure 429)"),
    ("CUT", "the connection to the model broke, also after 3 retries: terminated"),
    ("HANG", "pi did not end within 5 s and was stopped"),
])
def test_a_model_that_fails_makes_the_run_fail_in_one_sentence(box, script, sentence):
    with driver_for("docker")(boxes.LOCAL) as driver:
        outcome = played(driver, box, script, deadline=5 if script == "HANG" else 90)
    assert (outcome.ok, outcome.sentence) == (False, sentence)


def test_a_run_goes_on_when_nobody_follows_and_can_be_followed_later_from_any_point(driver, box):
    run = runs.start(driver, box.sandbox, 'CALL bash {"command": "sleep 2"}\nSAY slept')
    first = next(item for item in runs.follow(driver, box.sandbox, run) if isinstance(item, Said) and item.event)
    assert (first.event or {}).get("type") == "session"
    assert [item.end for item in runs.listing(driver, box.sandbox) if item.id == run] == [None]
    rest = list(runs.follow(driver, box.sandbox, run, first.offset))
    events = [item.event for item in rest if isinstance(item, Said) and item.event]
    assert "session" not in [event["type"] for event in events]
    assert judge(events, rest[-1]).answer == "slept"
    listed = next(item for item in runs.listing(driver, box.sandbox) if item.id == run)
    assert listed.end is not None
    assert (listed.end.code, listed.prompt.splitlines()[1]) == (0, "SAY slept")


def test_a_run_can_be_stopped(driver, box):
    run = runs.start(driver, box.sandbox, "HANG")
    runs.stop(driver, box.sandbox, run)
    events, end = followed(driver, box, run)
    assert judge(events, end).sentence == "the run was stopped"
    runs.stop(driver, box.sandbox, run)


def test_a_run_that_is_not_there_is_said_to_be_missing(driver, box):
    with pytest.raises(SandboxFailed) as caught:
        list(runs.follow(driver, box.sandbox, "20260101T000000-abcdef"))
    assert caught.value.trouble.headline.endswith("there is no such run")


def test_a_prompt_is_on_no_command_line(driver, box):
    run = runs.start(driver, box.sandbox, "HANG\nthe secret plan")
    seen, _, _ = finished(driver.stream(box.sandbox, ["sh", "-c", "cat /proc/[0-9]*/cmdline"]))
    runs.stop(driver, box.sandbox, run)
    assert b"--mode" in seen or b"pi" in seen
    assert b"secret plan" not in seen


def on_terminal(argv: list[str], until: bytes, answer: bytes = b"") -> tuple[bytes, int]:
    """Run `argv` on a terminal of its own until it has shown `until`, then type `answer`; all it showed, its exit."""
    pid, screen = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests under nohup ignore it, and so would what they start
        os.execvp(argv[0], argv)
    shown, end, typed = b"", time.monotonic() + 40, not answer
    while time.monotonic() < end:
        if select.select([screen], [], [], 0.5)[0]:
            try:
                shown += os.read(screen, 65536)
            except OSError:
                break
        if until in shown and not typed:
            os.write(screen, answer)
            typed = True
        elif until in shown and not answer:
            break
    os.close(screen)
    os.kill(pid, signal.SIGHUP)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_shell_on_a_terminal_gives_its_own_exit_code(driver, box):
    argv = driver.terminal_argv(box.sandbox, ["bash", "--norc"])
    shown, code = on_terminal(argv, b"$ ", b"test -t 0 && echo on a $TERM; exit 9\r")
    assert b"on a xterm-256color" in shown
    assert code == 9


def test_pi_in_a_terminal_survives_the_terminal(driver, box):
    argv = driver.attach_argv(box.sandbox)
    assert b"scripted-1" in on_terminal(argv, b"scripted-1")[0]
    first = finished(driver.stream(box.sandbox, ["tmux", "list-panes", "-t", "pi", "-F", "#{pane_pid}"]))[0]
    assert b"scripted-1" in on_terminal(argv, b"scripted-1")[0]
    assert finished(driver.stream(box.sandbox, ["tmux", "list-panes", "-t", "pi", "-F", "#{pane_pid}"]))[0] == first
    finished(driver.stream(box.sandbox, ["tmux", "kill-server"]))


def test_a_sandbox_stops_and_starts_and_says_so(driver, box):
    assert driver.state(box.sandbox) == "running"
    run = runs.start(driver, box.sandbox, "HANG")
    driver.stop(box.sandbox)
    driver.stop(box.sandbox)
    assert driver.state(box.sandbox) == "stopped"
    with pytest.raises(SandboxFailed) as caught:
        driver.require_running(box.sandbox)
    assert caught.value.trouble.try_ == f"pifleet start {box.sandbox.title}"
    with pytest.raises(SandboxFailed) as caught:
        runs.start(driver, box.sandbox, "x")
    assert "is not running" in caught.value.trouble.saw
    driver.start(box.sandbox)
    driver.start(box.sandbox)
    driver.require_running(box.sandbox)
    events, end = followed(driver, box, run)
    assert judge(events, end).sentence in (
        "the run was stopped", "the run was cut off: its sandbox stopped or ran out of memory")


def test_a_sandbox_that_is_not_there_is_missing(driver, tmp_path):
    other = boxes.Box(tmp_path).sandbox
    assert driver.state(other) == "missing"
    with pytest.raises(SandboxFailed) as caught:
        driver.start(other)
    assert "No such container" in caught.value.trouble.saw


def test_a_run_survives_the_connection_that_started_it(box):
    with driver_for("docker")(boxes.LOCAL) as first:
        run = runs.start(first, box.sandbox, 'CALL bash {"command": "sleep 1"}\nSAY alone')
    with driver_for("docker")(boxes.LOCAL) as second:
        assert judge(*followed(second, box, run)).answer == "alone"


def test_the_memory_limit_ends_a_run_with_a_word(box):
    with driver_for("docker")(boxes.LOCAL) as driver:
        run = runs.start(driver, box.sandbox, "HANG")
        time.sleep(1)
        kill = "import os\nfor p in filter(str.isdigit, os.listdir('/proc')):\n" \
               " if open(f'/proc/{p}/comm').read() == 'pi\\n': os.kill(int(p), 9)"
        finished(driver.stream(box.sandbox, ["python3", "-c", kill]))
        assert judge(*followed(driver, box, run)).sentence == "pi was killed by signal 9, perhaps for want of memory"
