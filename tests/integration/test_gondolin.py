"""The main job on a bare host of pattern gondolin: two developers, whose tools are in a micro-VM of each; no engine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.farm import Done, Farm
from tests.integration.gondolin_wires import PREPARE, WIRES, mark
from tests.lab.farm import Lab
from tests.lab.fixtures import started

HOST = "farm-1"
ROOT = "/var/lib/pifleet/sandboxes"
PLACE = ("/usr/bin/python3", "-I", "/usr/local/lib/pifleet/place", "enter")
# A machine is emulated where no KVM works, and this one may be busy: it boots in 6 s or in 100.
PATIENCE = 240
POISON = "poison-of-the-operator"
# What a `!` is to pi's rpc mode; its answer comes when the command has ended.
RPC = """
import json, subprocess, sys
pi = subprocess.Popen(["pi", "--mode", "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(json.dumps({"id": "asked", "type": "bash", "command": sys.argv[1]}), file=pi.stdin, flush=True)
for line in pi.stdout:
    if json.loads(line).get("id") == "asked":
        break
pi.stdin.close()
pi.wait(60)
"""
SCRIPT = "\n".join((
    'CALL bash {"command": "uname -r > by-bash.txt"}',
    'CALL write {"path": "api/by-write.txt", "content": "RELEASE"}',
    "SAY done",
))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    name = os.environ.get("PIFLEET_LAB", "gondolin")
    Lab(name).down()
    yield started(name, HOST)
    Lab(name).down()


@pytest.fixture(scope="module")
def farm(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Farm:
    folder = tmp_path_factory.mktemp("gondolin")
    base = folder / "base.json"
    base.write_text(json.dumps({"pifleet_gondolin": {"hosts": {HOST: {}}}}))
    return Farm(lab, folder, {
        "pifleet_fleet": "micro",
        "pifleet_defaults": {"pattern": "gondolin", "model": "dry", "cpus": 2, "memory": "2g", "pids": 512},
        "pifleet_models": {"dry": {"api": "scripted"}},
        "pifleet_repos": {"api": {"url": lab.git.http_url("web"), "ref": "main"}},
        "pifleet_results": str(folder / "results"),
        "pifleet_developers": {"ana": {"repos": ["api"]}, "bo": {"repos": ["api"]}},
    }, base)


@pytest.fixture(scope="module")
def first(farm: Farm) -> Done:
    return farm.pifleet("provision", "--yes", "-o", "json", timeout=3000, SECRET_TOKEN=POISON)


@pytest.fixture(scope="module")
def micro(farm: Farm, first: Done) -> Farm:
    """The farm with everything running; tests that damage it leave it repaired."""
    assert first.code == 0, first.out + first.err
    return farm


def in_place(farm: Farm, place: str, *words: str, stdin: str = "") -> str:
    """What a command says in a place of ana's sandbox, as pifleet enters it."""
    return str(farm.lab.host(HOST).inside(*PLACE, "ana-main", place, "/workspace", *words, input=stdin))


def wait(until: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, f"{what} within {seconds} s"
        time.sleep(0.2)


def machines(farm: Farm) -> list[str]:
    """The processes that are somebody's micro-VM or its host side."""
    said = farm.lab.host(HOST).inside("ps", "-e", "-o", "comm=").split()
    return [name for name in said if name.startswith("qemu-system")]


def test_a_bare_host_gets_a_sandbox_for_each_developer_and_no_engine(micro: Farm, first: Done) -> None:
    results = {row["sandbox"]: row["result"] for row in first.json["outcomes"] if row["sandbox"]}

    assert results == {"ana/main": "changed", "bo/main": "changed"}
    assert micro.lab.host(HOST).inside("sh", "-c", "command -v docker || echo none").strip() == "none"


def test_a_second_run_changes_nothing(micro: Farm) -> None:
    assert micro.plan().json["steps"] == []
    done = micro.provision()

    assert (done.code, {row["result"] for row in done.json["outcomes"]}) == (0, {"ok"})


class TestWork:
    @pytest.fixture(scope="class")
    def worked(self, micro: Farm) -> Farm:
        """After a run that wrote by `bash` and by `write`, and a `!` in pi's rpc mode."""
        done = micro.pifleet("run", "ana", "-p", SCRIPT.replace("RELEASE", self.release(micro)))
        assert done.code == 0, done.out + done.err
        in_place(micro, "agent", "timeout", str(PATIENCE), "python3", "-c", RPC, "uname -r > by-user.txt")
        return micro

    def release(self, farm: Farm) -> str:
        return farm.pifleet("exec", "ana", "--", "uname", "-r").out.strip()

    @pytest.mark.parametrize("name", ["by-bash.txt", "api/by-write.txt", "by-user.txt"])
    def test_every_way_of_writing_is_the_guests_and_the_file_is_the_developers(self, worked: Farm, name: str) -> None:
        host = worked.lab.host(HOST)
        path = f"{ROOT}/ana-main/workspace/{name}"

        assert host.inside("cat", path).strip() == self.release(worked) != os.uname().release
        assert host.inside("stat", "-c", "%U", path).strip() == "pi-ana"

    def test_it_comes_home(self, worked: Farm) -> None:
        done = worked.pifleet("pull", "ana", "-o", "json")

        assert done.code == 0, done.err
        found = [path.name for path in Path(done.json["pulls"][0]["path"]).rglob("by-*.txt")]
        assert "by-write.txt" in found

    def test_its_sessions_lie_where_every_pattern_has_them(self, worked: Farm) -> None:
        home = f"{ROOT}/ana-main/home/.pi/agent/sessions"

        assert worked.lab.host(HOST).inside("ls", home).split() == ["--workspace--"]


class TestVerbs:
    def test_exec_is_in_the_machine_with_its_input_and_exit_code(self, micro: Farm) -> None:
        done = micro.pifleet("exec", "ana", "--", "sh", "-c", "cat; id -u; exit 7", stdin="hello\n")

        assert (done.code, done.out) == (7, "hello\n0\n")

    def test_files_are_put_for_the_developer(self, micro: Farm, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("notes\n")
        done = micro.pifleet("put", "ana", str(tmp_path / "notes.txt"))

        assert done.code == 0, done.err
        assert micro.pifleet("exec", "ana", "--", "cat", "notes.txt").out == "notes\n"

    def test_a_stopped_sandbox_says_so_and_starts_again(self, micro: Farm) -> None:
        assert micro.pifleet("stop", "bo").code == 0
        refused = micro.pifleet("exec", "bo", "--", "true")
        assert (refused.code, "pifleet start bo/main" in refused.err) == (255, True)

        assert micro.pifleet("start", "bo").code == 0
        assert micro.pifleet("exec", "bo", "--", "true").code == 0

    def test_status_tells_what_is_asked_of_every_pattern(self, micro: Farm) -> None:
        done = micro.pifleet("status", "-o", "json")
        rows = {row["sandbox"]: row for row in done.json["sandboxes"]}

        assert done.code == 0, done.err
        assert {(row["pattern"], row["state"], row["drift"]) for row in rows.values()} == {("gondolin", "running", 0)}
        assert [repo["name"] for repo in rows["bo/main"]["repos"]] == ["api"]
        assert rows["bo/main"]["disk"]


class TestClosed:
    def test_nothing_of_the_operators_environment_is_in_the_guest(self, micro: Farm) -> None:
        assert POISON not in micro.pifleet("exec", "ana", "--", "env", SECRET_TOKEN=POISON).out

    def test_the_guest_reaches_no_name_and_no_address(self, micro: Farm) -> None:
        tries = "; ".join(f"curl -sS --max-time 5 {flags} || echo refused" for flags in (
            "--noproxy '*' http://169.254.169.254/", "--noproxy '*' http://example.com/",
            "-f http://example.com/", "-f http://10.0.0.1/"))
        done = micro.pifleet("exec", "ana", "--", "sh", "-c", tries)

        assert done.out.splitlines().count("refused") == 4, done.out

    def test_pi_sees_the_model_and_not_the_workspace(self, micro: Farm) -> None:
        assert in_place(micro, "agent", "ls", "-A", "/workspace") == ""
        assert in_place(micro, "agent", "ls", "/run/pifleet/net").split() == ["model.sock"]
        assert "lo" in in_place(micro, "agent", "cat", "/proc/net/dev")
        assert "eth0" not in in_place(micro, "agent", "cat", "/proc/net/dev")

    def test_work_sees_no_socket_and_no_network(self, micro: Farm) -> None:
        assert in_place(micro, "work", "ls", "-A", "/run/pifleet") == ""
        assert "eth0" not in in_place(micro, "work", "cat", "/proc/net/dev")


class TestHostileWorkspace:
    @pytest.fixture(scope="class")
    def wired(self, micro: Farm) -> Farm:
        """With every wire planted from inside, as an agent would."""
        script = "; ".join([PREPARE, *(wire.plant for wire in WIRES.values())])
        done = micro.pifleet("exec", "ana", "--", "sh", "-c", script)
        assert done.code == 0, done.err
        return micro

    def sprung(self, farm: Farm) -> list[str]:
        names = farm.lab.host(HOST).inside("ls", f"{ROOT}/ana-main/home").split()
        return sorted(name.removeprefix("sprung-") for name in names if name.startswith("sprung-"))

    @pytest.mark.parametrize("verb", [
        ("plan",), ("status", "ana"), ("run", "ana", "-p", "SAY hello"), ("pull", "ana"), ("verify", "ana"),
    ], ids=lambda words: words[0])
    def test_no_verb_runs_what_a_workspace_names(self, wired: Farm, verb: tuple[str, ...]) -> None:
        wired.pifleet(*verb, "-o", "json")

        assert self.sprung(wired) == []

    @pytest.mark.parametrize("name", WIRES)
    def test_each_wire_springs_by_hand(self, wired: Farm, name: str) -> None:
        in_place(wired, "work", "sh", "-c", f"{WIRES[name].spring} >/dev/null 2>&1; :", stdin="")

        assert name in self.sprung(wired), mark(name)
        wired.lab.host(HOST).inside("rm", "-rf", f"{ROOT}/ana-main/home/sprung-{name}")

    def test_a_link_to_a_file_of_the_host_is_one_of_the_guest(self, wired: Farm) -> None:
        wired.pifleet("exec", "ana", "--", "ln", "-sf", "/etc/hostname", "/workspace/link")

        assert wired.pifleet("exec", "ana", "--", "cat", "link").out == "sandbox\n"


class TestTrouble:
    def test_a_killed_pi_leaves_no_machine_and_no_file(self, micro: Farm) -> None:
        host = micro.lab.host(HOST)
        script = 'CALL bash {"command": "touch started; sleep 600"}'
        host.inside("rm", "-f", f"{ROOT}/ana-main/workspace/started")
        in_place(micro, "agent", "sh", "-c", 'setsid pi -p "$0" </dev/null >/dev/null 2>&1 &', script)
        there = f"test -e {ROOT}/ana-main/workspace/started && echo yes || echo no"
        wait(lambda: host.inside("sh", "-c", there).strip() == "yes", PATIENCE, "the command started")
        host.inside("pkill", "-KILL", "-x", "pi")

        wait(lambda: machines(micro) == [], 30, "the machine ended")
        assert "gondolin" not in host.inside("find", "/tmp", "/var/tmp", "-maxdepth", "1")

    def test_without_its_guest_nothing_is_run_and_pi_says_why(self, micro: Farm) -> None:
        host = micro.lab.host(HOST)
        runtime = host.inside("sh", "-c", "echo /usr/local/lib/pifleet/gondolin/*/guest").strip()
        wait(lambda: machines(micro) == [], PATIENCE, "no machine ran")
        aside = host.inside("readlink", runtime).strip()
        host.inside("mv", f"{Path(runtime).parent}/{aside}", "/var/lib/pifleet/aside")
        done = micro.pifleet("run", "ana", "-p", 'CALL bash {"command": "echo ran > ran.txt"}\nSAY {last_result}')

        assert "the micro-VM did not start, so nothing was run" in done.out
        assert host.inside("sh", "-c", f"ls {ROOT}/ana-main/workspace").split().count("ran.txt") == 0
        repaired = micro.provision()
        assert repaired.code == 0, repaired.err
        assert micro.plan().json["steps"] == []

    def test_verify_proves_it(self, micro: Farm) -> None:
        done = micro.pifleet("verify", "ana", "-o", "json")

        [box] = done.json["sandboxes"]
        assert box["checks"]
        assert [row for row in box["checks"] if row["verdict"] == "fail"] == []
        assert done.code == 0

    def test_removal_leaves_nothing_of_a_sandbox(self, micro: Farm) -> None:
        done = micro.pifleet("remove", "bo", "--yes")

        assert done.code == 0, done.out + done.err
        assert "bo-main" not in micro.lab.host(HOST).inside("sh", "-c", f"ls {ROOT}; ls /etc/systemd/system")
