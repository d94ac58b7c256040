"""The main job on a bare host of pattern gondolin: two developers, whose tools are in a micro-VM of each; no engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.farm import Done
from tests.integration.gondolin_work import FILES, RPC, script
from tests.integration.micro_farm import PATIENCE, PLACE, POISON, ROOT, Micro, wait

# Kills pi, and tells the seconds until no machine runs.
KILL = """
import subprocess, time
subprocess.run(["pkill", "-KILL", "-x", "pi"], check=True)
started = time.monotonic()
while subprocess.run(["pgrep", "-f", "^qemu-system"], stdout=subprocess.DEVNULL).returncode == 0:
    time.sleep(0.05)
print(time.monotonic() - started)
"""
# Kills the client of one of two commands with an input that goes on; tells how many copy an input once it has ended.
GIVE_UP = """
import subprocess, sys, time
def given(*words):
    client = subprocess.Popen([*sys.argv[1:], *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    client.stdin.write(b"given\\n")
    client.stdin.flush()
    client.stdout.readline()
    return client
def pgrep(*words):
    asked = [*sys.argv[1:], "pgrep", "--runstates", "D,R,S", *words]
    return subprocess.run(asked, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout.decode()
other = given("cat")
given("sh", "-c", "sleep 600 & exec cat")
assert pgrep("-x", "sleep")
subprocess.run(["pkill", "-KILL", "-f", "[i]nside.js / sh"], check=True)
while pgrep("-x", "sleep"):
    time.sleep(1)
time.sleep(3)
print(pgrep("--count", "--older", "2", "-x", "cat"))
other.stdin.close()
"""


def test_a_bare_host_gets_a_sandbox_for_each_developer_and_no_engine(micro: Micro, first_of_micro: Done) -> None:
    results = {row["sandbox"]: row["result"] for row in first_of_micro.json["outcomes"] if row["sandbox"]}

    assert results == {f"{name}/main": "changed" for name in ("ana", "bo", "mal")}
    assert micro.host.inside("sh", "-c", "command -v docker || echo none").strip() == "none"


def test_a_second_run_changes_nothing(micro: Micro) -> None:
    assert micro.plan().json["steps"] == []
    done = micro.provision()

    assert (done.code, {row["result"] for row in done.json["outcomes"]}) == (0, {"ok"})


class TestWork:
    @pytest.fixture(scope="class")
    def worked(self, micro: Micro) -> Iterator[Micro]:
        """After a run that wrote by `bash` and by `write`, and a `!` in pi's rpc mode."""
        done = micro.pifleet("run", "ana", "-p", script(self.release(micro)))
        assert done.code == 0, done.out + done.err
        micro.in_place("agent", "timeout", str(PATIENCE), *RPC)
        yield micro
        micro.sh(f"find {ROOT}/ana-main/workspace -name 'by-*.txt' -delete")

    def release(self, farm: Micro) -> str:
        return farm.pifleet("exec", "ana", "--", "uname", "-r").out.strip()

    @pytest.mark.parametrize("name", FILES)
    def test_every_way_of_writing_is_the_guests_and_the_file_is_the_developers(self, worked: Micro, name: str) -> None:
        host = worked.host
        path = f"{ROOT}/ana-main/workspace/{name}"

        assert host.inside("cat", path).strip() == self.release(worked) != os.uname().release
        assert host.inside("stat", "-c", "%U", path).strip() == "pi-ana"

    def test_it_comes_home(self, worked: Micro) -> None:
        done = worked.pifleet("pull", "ana", "-o", "json")

        assert done.code == 0, done.err
        found = [path.name for path in Path(done.json["pulls"][0]["path"]).rglob("by-*.txt")]
        assert "by-write.txt" in found

    def test_its_sessions_lie_where_every_pattern_has_them(self, worked: Micro) -> None:
        home = f"{ROOT}/ana-main/home/.pi/agent/sessions"

        assert worked.host.inside("ls", home).split() == ["--workspace--"]


class TestVerbs:
    def test_exec_is_in_the_machine_with_its_input_and_exit_code(self, micro: Micro) -> None:
        done = micro.pifleet("exec", "ana", "--", "sh", "-c", "cat; id -u; exit 7", stdin="hello\n")

        assert (done.code, done.out) == (7, "hello\n0\n")

    def test_a_command_that_does_not_read_what_it_is_given_ends_by_itself(self, micro: Micro) -> None:
        words = ("sh", "-c", "head -c 4; echo err >&2; exit 7")
        done = micro.pifleet("exec", "ana", "--", *words, stdin="megabytes" * (1 << 19))

        assert (done.code, done.out, "err" in done.err) == (7, "mega", True)

    def test_a_command_that_is_given_up_ends_with_all_that_was_started_for_it(self, micro: Micro) -> None:
        inside = (*PLACE, "ana-main", "agent", "/", "inside", "/")

        assert micro.host.inside("timeout", str(PATIENCE), "python3", "-c", GIVE_UP, *inside) == "2"

    def test_files_are_put_for_the_developer(self, micro: Micro, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("notes\n")
        done = micro.pifleet("put", "ana", str(tmp_path / "notes.txt"))

        assert done.code == 0, done.err
        assert micro.pifleet("exec", "ana", "--", "cat", "notes.txt").out == "notes\n"

    def test_a_stopped_sandbox_says_so_and_starts_again(self, micro: Micro) -> None:
        assert micro.pifleet("stop", "bo").code == 0
        refused = micro.pifleet("exec", "bo", "--", "true")
        assert (refused.code, "pifleet start bo/main" in refused.err) == (255, True)

        assert micro.pifleet("start", "bo").code == 0
        assert micro.pifleet("exec", "bo", "--", "true").code == 0

    def test_status_tells_what_is_asked_of_every_pattern(self, micro: Micro) -> None:
        done = micro.pifleet("status", "-o", "json")
        rows = {row["sandbox"]: row for row in done.json["sandboxes"]}

        assert done.code == 0, done.err
        assert {(row["pattern"], row["state"], row["drift"]) for row in rows.values()} == {("gondolin", "running", 0)}
        assert [repo["name"] for repo in rows["bo/main"]["repos"]] == ["api"]
        assert rows["bo/main"]["disk"]


class TestClosed:
    def test_nothing_of_the_operators_environment_is_in_the_guest(self, micro: Micro) -> None:
        assert POISON not in micro.pifleet("exec", "ana", "--", "env", SECRET_TOKEN=POISON).out

    def test_the_guest_reaches_no_name_and_no_address(self, micro: Micro) -> None:
        tries = "; ".join(f"curl -sS --max-time 5 {flags} || echo refused" for flags in (
            "--noproxy '*' http://169.254.169.254/", "--noproxy '*' http://example.com/",
            "-f http://example.com/", "-f http://10.0.0.1/"))
        done = micro.pifleet("exec", "ana", "--", "sh", "-c", tries)

        assert done.out.splitlines().count("refused") == 4, done.out

    def test_pi_sees_the_model_and_not_the_workspace(self, micro: Micro) -> None:
        assert micro.in_place("agent", "ls", "-A", "/workspace") == ""
        assert micro.in_place("agent", "ls", "/run/pifleet/net").split() == ["model.sock"]
        assert "lo" in micro.in_place("agent", "cat", "/proc/net/dev")
        assert "eth0" not in micro.in_place("agent", "cat", "/proc/net/dev")

    def test_work_sees_no_socket_and_no_network(self, micro: Micro) -> None:
        assert micro.in_place("work", "ls", "-A", "/run/pifleet") == ""
        assert "eth0" not in micro.in_place("work", "cat", "/proc/net/dev")


class TestTrouble:
    @pytest.mark.parametrize("at", ["boot", "work"])
    def test_a_killed_pi_leaves_no_process_no_disk_and_no_socket_after_five_seconds(
        self, micro: Micro, at: str
    ) -> None:
        host = micro.host
        wait(lambda: micro.machines() == [], PATIENCE, "no machine ran")
        before = self.left(micro)
        script = 'CALL bash {"command": "touch started; sleep 600"}'
        host.inside("rm", "-f", f"{ROOT}/ana-main/workspace/started")
        micro.in_place("agent", "sh", "-c", 'setsid pi -p "$0" </dev/null >/dev/null 2>&1 &', script)
        wait(lambda: micro.machines() != [], PATIENCE, "its machine was there")
        started = f"test -e {ROOT}/ana-main/workspace/started && echo yes || echo no"
        if at == "work":
            wait(lambda: micro.sh(started).strip() == "yes", PATIENCE, "the command started")
        assert self.left(micro) != before

        assert float(host.inside("python3", "-c", KILL)) < 5
        assert self.left(micro) == before
        assert micro.sh(started).strip() == ("yes" if at == "work" else "no")

    def left(self, farm: Micro) -> tuple[list[str], list[str]]:
        """The developer's processes, and what the machine's place has of disks and sockets."""
        found = farm.in_place("machine", "find", "/tmp", "/run/pifleet", "-type", "s", "-o", "-name", "*.qcow2")
        return farm.sh("ps -o comm= -u pi-ana").split(), sorted(found.split())

    def test_without_its_guest_nothing_is_run_and_pi_says_why(self, micro: Micro) -> None:
        host = micro.host
        runtime = host.inside("sh", "-c", "echo /usr/local/lib/pifleet/gondolin/*/guest").strip()
        wait(lambda: micro.machines() == [], PATIENCE, "no machine ran")
        aside = host.inside("readlink", runtime).strip()
        host.inside("mv", f"{Path(runtime).parent}/{aside}", "/var/lib/pifleet/aside")
        done = micro.pifleet("run", "ana", "-p", 'CALL bash {"command": "echo ran > ran.txt"}\nSAY {last_result}')

        assert "the micro-VM did not start, so nothing was run" in done.out
        assert host.inside("sh", "-c", f"ls {ROOT}/ana-main/workspace").split().count("ran.txt") == 0
        repaired = micro.provision()
        assert repaired.code == 0, repaired.err
        assert micro.plan().json["steps"] == []

    def test_verify_proves_it(self, micro: Micro) -> None:
        done = micro.pifleet("verify", "ana", "-o", "json")

        [box] = done.json["sandboxes"]
        assert box["checks"]
        assert [row for row in box["checks"] if row["verdict"] == "fail"] == []
        assert done.code == 0

    def test_removal_leaves_nothing_of_a_sandbox(self, micro: Micro) -> None:
        done = micro.pifleet("remove", "bo", "--yes")

        assert done.code == 0, done.out + done.err
        assert "bo-main" not in micro.host.inside("sh", "-c", f"ls {ROOT}; ls /etc/systemd/system")
