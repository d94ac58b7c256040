"""verify in a real container with the real pi behind a real gateway: what it proves, finds, and leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pifleet.desired.inside import EGRESS_PORT
from pifleet.sandbox.inside import ARGV, call
from pifleet.verify.found import EVERYTHING, SOCKETS
from pifleet.verify.targets import FORBIDDEN
from tests.gateway.place import place, usable
from tests.integration import boxes
from tests.integration.kept import KEY, Kept, costly, kept

pytestmark = pytest.mark.skipif(
    not boxes.image()[0] or not usable(), reason="no sandbox image (io.pifleet.image) on this engine, or no nginx")



@pytest.fixture(scope="module")
def box() -> Iterator[Kept]:
    with place() as here, kept(here, [costly(here)]) as made:
        made.clone()
        yield made


@pytest.mark.slice
def test_a_sandbox_that_is_as_promised_passes_and_stays_byte_for_byte_as_it_was(box):
    before = box.bytes()

    checks = box.verify()

    assert {name: check for name, check in checks.items() if check.verdict not in ("pass", "note")} == {}
    assert box.bytes() == before
    assert checks["pi at work"].text == "a scripted model had it write and read a file; no key was used"
    assert checks["repo api"].text.endswith("holds its base")
    assert checks["keys"].text.startswith("none of 1 in ")
    assert int(checks["ways out"].text.split()[0]) > 80
    assert {"not enforced: disk", "not enforced: kernel", "not enforced: model"} <= set(checks)


def test_the_model_that_costs_is_asked_nothing(box):
    assert box.here.provider.requests() == []
    assert box.here.log() == []


# Keeps what it was given on a line, and waits until its input ends.
WAITING = ["python3", "-c", "import sys; kept = sys.stdin.readline(); print('ready', flush=True); sys.stdin.read()"]


@contextmanager
def at_work(box: Kept, argv: list[str], kept: str = "") -> Iterator[None]:
    """A process in the sandbox that has begun, and goes on until the block ends."""
    running = subprocess.Popen(["docker", "exec", "-i", box.sandbox.container, *argv], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert running.stdin
    assert running.stdout
    running.stdin.write(f"{kept}\n")
    running.stdin.flush()
    assert running.stdout.readline() == "ready\n"
    try:
        yield
    finally:
        running.stdin.close()
        running.wait()


class TestKeys:
    """Each place in which a key could be is looked at: one planted there is found."""

    def found(self, box: Kept) -> str:
        check = box.verify()["keys"]
        assert check.verdict == "fail"
        return check.text

    def test_in_a_file(self, box):
        box.inside("sh", "-c", "cat > /workspace/.hidden", input=f"x {KEY} y")

        assert ".hidden" in self.found(box)
        box.inside("rm", "/workspace/.hidden")

    def test_in_a_file_of_home(self, box):
        box.inside("sh", "-c", "mkdir -p $HOME/.cache/a && cat > $HOME/.cache/a/b", input=KEY)

        assert "home/.cache/a/b" in self.found(box)
        box.inside("rm", "/home/pi/.cache/a/b")

    def test_in_the_memory_disk(self, box):
        box.inside("sh", "-c", "cat > /tmp/note", input=KEY)

        assert "found in /tmp/note" in self.found(box)
        box.inside("rm", "/tmp/note")

    @pytest.mark.parametrize(("place", "argv", "kept"), [
        ("environ of process", ["env", f"SOMETHING={KEY}", *WAITING], ""),
        ("cmdline of process", [*WAITING, KEY], ""),
        ("memory of process", WAITING, KEY),
    ])
    def test_in_a_process(self, box, place, argv, kept):
        with at_work(box, argv, kept):
            assert place in self.found(box)

    def test_by_its_name_in_the_environment(self, box):
        with at_work(box, ["env", "SOME_API_KEY=x", *WAITING]):
            assert box.verify()["names of keys"].text == "in the environment: SOME_API_KEY"


class TestRepositories:
    def test_one_without_its_base_is_told(self, box):
        record = Path(box.sandbox.root, "repos.json")
        good = record.read_text()
        record.write_text(json.dumps({"api": {"base": "1" * 40}}))

        check = box.verify()["repo api"]
        record.write_text(good)

        assert (check.verdict, check.text.split(", ")[-1]) == ("fail", "its base is gone")

    def test_a_damaged_one_is_told(self, box):
        box.inside("sh", "-c", "mv api/.git/objects /tmp/objects && mkdir api/.git/objects")

        check = box.verify()["repo api"]
        box.inside("sh", "-c", "rmdir api/.git/objects && mv /tmp/objects api/.git/objects")

        assert (check.verdict, check.text) == ("fail", "missing or damaged")


class TestLimits:
    def test_others_than_promised_are_told(self, box):
        subprocess.run(["docker", "update", "--pids-limit", "99", box.sandbox.container], check=True,
                       capture_output=True)

        check = box.verify()["limit of pids"]
        subprocess.run(["docker", "update", "--pids-limit", str(box.sandbox.limits.pids), box.sandbox.container],
                       check=True, capture_output=True)

        assert (check.verdict, check.text, check.saw) == ("fail", "99", "want 512")


def tried(argv: list[str], **ways: Any) -> dict[str, dict[str, Any]]:
    request = {"tcp": FORBIDDEN, "proxied": FORBIDDEN, "proxy": ["127.0.0.1", EGRESS_PORT], "own": SOCKETS, "names": [],
               "kinds": EVERYTHING, **ways}
    done = subprocess.run([*argv, *ARGV[1:]], input=call("escape", request), capture_output=True, check=True)
    return dict(json.loads(done.stdout)["attempts"])


def test_the_same_attempts_succeed_where_nothing_confines_them(box):
    """The control: root on this machine. What it does not reach either is not here to be reached."""
    attempts = tried([sys.executable], tcp=[], proxied=[])
    reached = {name for name, said in attempts.items() if not said["refused"]}

    assert len(reached) >= 40, sorted(set(attempts) - reached)
    assert {
        "raw icmp", "raw packets", "a new interface", "socket /run/docker.sock", "folder /var/lib/docker",
        "write /proc/sys/kernel/core_pattern",
        "become root", "a new user namespace", "a new net namespace", "mount", "change the root", "a block device",
        "reboot", "system call bpf", "system call keyctl", "system call open_by_handle_at",
    } <= reached


def test_a_container_that_somebody_opened_fails_by_name(box):
    """The control in a container: one with the host's network, its own capabilities and the engine's socket."""
    listener = subprocess.Popen(
        [sys.executable, "-c", "import socket, time; s = socket.create_server(('127.0.0.1', 0));"
         "print(s.getsockname()[1], flush=True); time.sleep(60)"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(listener.stdout.readline())
        ways = {"tcp": [("a port of the host", "127.0.0.1", port)], "proxied": []}
        argv = ["docker", "run", "--rm", "-i", "--network", "host", "--user", "0:0", "--entrypoint", "python3",
                "-v", "/run/docker.sock:/run/docker.sock", box.image]
        opened = tried(argv, **ways)
        inside = ["docker", "exec", "-i", box.sandbox.container, "python3"]
        closed = tried(inside, **ways)
    finally:
        listener.kill()
        listener.wait()

    wide = {name for name, said in opened.items() if not said["refused"]}
    assert {"tcp to a port of the host", "socket /run/docker.sock", "a file in the root", "raw icmp"} <= wide
    assert {name for name, said in closed.items() if not said["refused"]} == set()


def test_this_machine_still_has_what_the_control_could_have_changed():
    assert not any(Path(folder, "pifleet-probe").exists() for folder in ("/", "/usr/bin", "/run/pifleet"))
    assert os.statvfs("/").f_flag & os.ST_RDONLY == 0
