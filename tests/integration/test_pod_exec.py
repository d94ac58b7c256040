"""Programs in pods of a real cluster: what goes in and out is whole, nothing is left behind, no silence is success."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from pifleet.errors import HostFailed, Refused, SandboxFailed
from pifleet.kube import exec as kube_exec
from pifleet.kube import lease as leases
from pifleet.kube.client import path
from pifleet.lock import leased, locked
from pifleet.results import pull
from pifleet.sandbox.inside import ask
from pifleet.sandbox.pod import PodDriver
from pifleet.sandbox.upload import entries_of, put
from pifleet.stream import Stream
from tests.integration.pods import BUSYBOX, Pods, everything, feed, image
from tests.lab.cluster import Cluster

MANY = """
import os, random, subprocess
source = random.Random(1)
subprocess.run(["git", "init", "-q", "api"], check=True)
for number in range(2100):
    os.makedirs(f"api/{number % 70}", exist_ok=True)
    with open(f"api/{number % 70}/{number}", "wb") as file:
        file.write(source.randbytes(source.randint(100, 4000)))
subprocess.run(["git", "-C", "api", "add", "-A"], check=True)
subprocess.run(["git", "-C", "api", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "base"], check=True)
with open("api/large", "wb") as file:
    for _ in range({megabytes}):
        file.write(source.randbytes(1 << 20))
"""


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Pods:
    cluster.load(image())
    made = Pods(cluster)
    made.make()
    return made


def holds(asked, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not asked():
        assert time.monotonic() < end, f"did not come true within {seconds} s"
        time.sleep(0.1)


def answers(pods: Pods) -> bool:
    with suppress(SandboxFailed):
        return pods.run("echo", "again")[:2] == (0, b"again\n")
    return False


# -- what goes in and comes out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("argv", "code"), [
    (("true",), 0), (("sh", "-c", "exit 7"), 7), (("sh", "-c", "kill -9 $$"), 137), (("/etc",), 126),
    (("no-such-program",), 127),
])
def test_the_exit_code_is_the_programs_own(pods, argv, code):
    assert pods.run(*argv)[0] == code


@pytest.mark.parametrize("protocol", kube_exec.PROTOCOLS)
def test_megabytes_are_whole_both_ways_and_input_has_an_end(pods, protocol, monkeypatch):
    monkeypatch.setattr(kube_exec, "PROTOCOLS", (protocol,))
    data = os.urandom(32 << 20)

    assert pods.run("cat", data=data) == (0, data, b"")


def test_output_and_errors_are_kept_apart(pods):
    code, output, errors = pods.run("sh", "-c", "echo out; seq 100000 >&2; exit 3")

    assert (code, output, len(errors), errors[-7:]) == (3, b"out\n", 65536, b"100000\n")


def test_a_program_that_closed_its_output_still_gets_all_of_its_input(pods):
    data = os.urandom(16 << 20)

    assert pods.run("sh", "-c", "exec >&-; cat > kept", data=data)[0] == 0
    assert pods.run("sha256sum", "kept")[1][:64].decode() == hashlib.sha256(data).hexdigest()


def test_a_program_that_takes_no_input_is_no_failure(pods):
    assert pods.run("sh", "-c", "exec <&-; sleep 1; echo done", data=bytes(8 << 20))[:2] == (0, b"done\n")


def test_silence_for_long_is_bridged_by_pings(pods, monkeypatch):
    monkeypatch.setattr("pifleet.kube.wire.PING_SECONDS", 0.2)

    assert pods.run("sh", "-c", "sleep 3; echo awake")[:2] == (0, b"awake\n")


def test_uploads_and_questions_go_the_way_of_every_pattern(pods, tmp_path):
    data = os.urandom(12 << 20)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "large").write_bytes(data)
    (tmp_path / "folder" / "link").symlink_to("large")

    assert put(pods.driver, pods.box, entries_of(tmp_path / "folder"), "in") == "/workspace/in"
    with pytest.raises(Refused):
        put(pods.driver, pods.box, entries_of(tmp_path / "folder"), "in")
    said = next(ask(pods.driver, pods.box, "status", {"workspace": "/workspace", "home": "/home/pi", "repos": []}))

    assert pods.run("sha256sum", "in/folder/link")[1][:64].decode() == hashlib.sha256(data).hexdigest()
    assert said["disk"] > len(data)


# -- what cannot be started --------------------------------------------------------------------------------------------


def test_a_pod_that_is_not_there_is_told(pods):
    with pytest.raises(SandboxFailed) as caught:
        pods.driver.stream(replace(pods.box, name="other"), ["true"])

    assert caught.value.trouble.headline == "ana/other on lab cannot be reached"
    assert "not found" in caught.value.trouble.saw


def test_an_image_without_python_is_told(cluster):
    bare = Pods(cluster, "bare")
    bare.make(BUSYBOX)

    code, output, errors = bare.run("true")

    assert (code, output) == (127, b"")
    assert b'"python3": executable file not found' in errors


def test_a_missing_right_is_told_by_verb_and_resource(pods, tmp_path):
    pods.apply("v1", "ServiceAccount", "serviceaccounts", "guest", {})
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    said = pods.api.request("POST", path("v1", "serviceaccounts", pods.namespace, "guest", "token"), asked)
    config = yaml.safe_load(pods.cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": said["status"]["token"]}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    host = replace(pods.host, cluster=replace(pods.host.cluster, kubeconfig=str(file)))

    with PodDriver(host) as driver, pytest.raises(HostFailed) as caught:
        driver.stream(pods.box, ["true"])

    assert caught.value.trouble.headline == "lab: no right to get pods/exec in namespace test-ana"


def test_credentials_leave_no_file_behind(pods, tmp_path, monkeypatch):
    assert b"client-key-data" in pods.cluster.kubeconfig.read_bytes()
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    program = pods.driver.terminal_argv(pods.box, ["true"], tty=False)

    assert subprocess.run(program, check=False).returncode == 0
    assert list(tmp_path.iterdir()) == []


# -- what ends early ---------------------------------------------------------------------------------------------------


def started(pods: Pods, word: str, script: str = "sleep 600") -> Stream:
    stream = pods.driver.stream(pods.box, ["sh", "-c", f": {word}; echo up; {script}; :"])
    assert stream.read(100, 20) == b"up\n"
    return stream


def test_closing_ends_the_program_inside(pods):
    stream = started(pods, "first-closed")
    assert pods.running("first-closed")
    stream.close()

    holds(lambda: not pods.running("first-closed"))


def test_closing_ends_a_program_that_takes_none_of_its_input(pods):
    stream = started(pods, "greedy-closed")
    threading.Thread(target=feed, args=(stream, bytes(64 << 20)), daemon=True).start()
    time.sleep(1)
    stream.close()

    holds(lambda: not pods.running("greedy-closed"))


def test_what_set_out_for_itself_goes_on(pods):
    pods.run("sh", "-c", "setsid sh -c ': detached; sleep 20; :' >/dev/null 2>&1 </dev/null &")
    time.sleep(1)

    assert pods.running("detached")


@pytest.mark.parametrize("tty", [False, True], ids=["plain", "terminal"])
def test_a_client_that_is_killed_leaves_nothing_inside(pods, tty):
    word = f"killed-{tty}"
    ours, theirs = pty.openpty()
    program = pods.driver.terminal_argv(pods.box, ["sh", "-c", f": {word}; echo up; sleep 600; :"], tty=tty)
    client = subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs)
    assert os.read(ours, 100).startswith(b"up")
    assert pods.running(word)
    client.kill()
    client.wait()

    holds(lambda: not pods.running(word))


def test_an_api_server_that_goes_away_is_no_success_and_ends_what_ran(pods):
    stream = started(pods, "cut-off")
    pods.cluster.stop_api()

    assert (stream.read(100, 30), stream.wait(30)) == (b"", 255)
    assert b"the connection to the cluster broke" in stream.stderr()
    with pytest.raises(HostFailed) as caught:
        pods.driver.stream(pods.box, ["true"])
    assert caught.value.unreachable

    pods.cluster.start_api()
    holds(lambda: not pods.running("cut-off"))
    stream.close()


def test_a_node_that_goes_away_is_told(pods):
    stream = started(pods, "node-gone")
    pods.cluster.stop_kubelet()
    try:
        assert (stream.read(100, 30), stream.wait(30)) == (b"", 255)
        with pytest.raises(SandboxFailed) as caught:
            pods.driver.stream(pods.box, ["true"])
        assert caught.value.trouble.headline == "ana/main on lab cannot be reached"
        assert caught.value.trouble.saw.startswith("error dialing backend")
    finally:
        pods.cluster.start_kubelet()
        stream.close()

    holds(lambda: answers(pods))


def test_two_hundred_execs_leave_nothing_behind(pods):
    pods.run("true")
    here = len(os.listdir("/proc/self/fd")), threading.active_count()

    for number in range(200):
        assert pods.run("echo", str(number))[:2] == (0, f"{number}\n".encode())

    processes = pods.run("ps", "-e", "--no-headers", "-o", "args")[1].decode().splitlines()
    holds(lambda: threading.active_count() <= here[1])
    assert len(os.listdir("/proc/self/fd")) <= here[0] + 2
    left = [line for line in processes if line.startswith(("python3", "echo"))]
    assert len(left) <= 3, left  # the last ones may be on their way out


# -- a person's terminal -----------------------------------------------------------------------------------------------


def test_a_terminal_has_its_size_its_keys_and_its_own_exit_code(pods):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    script = "stty size; echo $TERM; trap 'stty size' WINCH; trap 'echo bye; exit 9' INT; while :; do sleep 0.1; done"
    client = subprocess.Popen(pods.driver.terminal_argv(pods.box, ["sh", "-c", script]), stdin=theirs, stdout=theirs,
                              env={key: text for key, text in os.environ.items() if key not in ("LINES", "COLUMNS")})

    def reads(words: bytes) -> bytes:
        seen = b""
        while words not in seen:
            seen += os.read(ours, 1000)
        return seen

    assert b"33 101" in reads(b"xterm-256color")
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 102, 0, 0))
    client.send_signal(signal.SIGWINCH)
    reads(b"44 102")
    os.write(ours, b"\x03")
    reads(b"bye")
    assert client.wait(20) == 9


def test_plain_streams_pass_through_with_the_exit_code(pods):
    program = pods.driver.terminal_argv(pods.box, ["sh", "-c", "cat; echo err >&2; exit 4"], tty=False)

    done = subprocess.run(program, input=bytes(1 << 20), capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (4, bytes(1 << 20), b"err\n")


# -- stop, start, and who may ------------------------------------------------------------------------------------------


def test_a_stopped_sandbox_has_no_pod_and_keeps_its_work(pods):
    pods.run("sh", "-c", "echo work > kept; echo home > ~/kept")
    pods.driver.stop(pods.box)
    assert pods.driver.state(pods.box) == "stopped"
    with pytest.raises(SandboxFailed) as caught:
        pods.driver.require_running(pods.box)
    assert caught.value.trouble.try_ == "pifleet start ana/main"

    pods.driver.stop(pods.box)
    pods.driver.start(pods.box)

    assert pods.run("sh", "-c", "cat kept ~/kept")[1] == b"work\nhome\n"


def test_work_is_moved_by_one_and_nobody_ends_it_meanwhile(pods, tmp_path):
    with closing(pods.driver.claimed(pods.box, ["cat"], "pull", tmp_path)) as stream:
        for act in (lambda: pods.driver.stop(pods.box),
                    lambda: pods.driver.claimed(pods.box, ["cat"], "restore", Path("/"))):
            with pytest.raises(SandboxFailed) as caught:
                act()
            assert caught.value.trouble.headline == "ana/main is busy"
            assert caught.value.trouble.saw.startswith(f"pull by {os.environ.get('USER', 'root')}@")
        feed(stream, b"all")
        assert (everything(stream), stream.wait(10)) == (b"all", 0)

    pods.driver.stop(pods.box)
    pods.driver.start(pods.box)


def test_what_ones_own_broken_line_has_left_is_taken_over_and_ends(pods, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.2)
    first = pods.driver.claimed(pods.box, ["sh", "-c", ": overtaken; sleep 600"], "pull", tmp_path)

    with closing(pods.driver.claimed(pods.box, ["echo", "mine"], "pull", tmp_path)) as second:
        assert everything(second) == b"mine\n"
        assert (first.read(100, 20), first.wait(20)) == (b"", 255)
    first.close()


def test_a_lease_that_nobody_renews_is_anybodys(pods):
    lease = path(leases.GROUP, "leases", pods.namespace, pods.box.container)
    with leased(pods.api, pods.box, "a stranger's pull"):
        left = pods.api.get(lease)
    left["metadata"].pop("resourceVersion")
    left["metadata"].pop("uid")
    left["spec"]["renewTime"] = (pods.api.now() - timedelta(seconds=31)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    pods.api.request("POST", path(leases.GROUP, "leases", pods.namespace), left)

    with leased(pods.api, pods.box, "mine"):
        assert leases.holder_of(pods.api.get(lease))["what"] == "mine"
    assert pods.api.get(lease) is None


def test_a_claim_on_a_sandbox_that_is_not_there_makes_nothing(pods, tmp_path):
    nobody = replace(pods.box, developer="bo")

    with pytest.raises(HostFailed):
        pods.driver.claimed(nobody, ["true"], "pull", tmp_path)
    assert pods.api.get(path("v1", "namespaces", "", "test-bo")) is None


def test_one_controller_at_a_time_changes_a_cluster_also_a_bare_one(pods):
    assert pods.api.get(path("v1", "namespaces", "", "test-pifleet")) is None
    with locked({"lab": pods.host}, {"lab": [pods.box]}, "provision") as first:
        assert first == {}
        with locked({"lab": pods.host}, {}, "removal") as second:
            assert second["lab"].headline == "lab is being changed by somebody else"
            assert second["lab"].saw.startswith("provision by ")
    with locked({"lab": pods.host}, {}, "removal") as third:
        assert third == {}


# -- bringing work home ------------------------------------------------------------------------------------------------


class Cut:
    """A stream whose API server crashes as soon as so many bytes of it have arrived."""

    def __init__(self, stream, after, crash):
        self._stream, self._left, self._crash = stream, after, crash

    def read(self, size, timeout):
        data = self._stream.read(size, timeout)
        before, self._left = self._left, self._left - len(data)
        if before > 0 >= self._left:
            self._crash()
        return data

    def __getattr__(self, name):
        return getattr(self._stream, name)


def pulled(pods: Pods, store: Path, through=lambda stream: stream):
    return pull(lambda argv: through(pods.driver.claimed(pods.box, argv, "pull", store)), sandbox=pods.box.title,
                sandbox_id=pods.box.id, repos=pods.box.repos, store=store)


def test_work_comes_home_whole_also_after_a_cut(pods, tmp_path):
    assert pods.run("python3", "-c", MANY.replace("{megabytes}", "100"))[0] == 0
    sums = pods.run("sh", "-c", "cd api && find . -path ./.git -prune -o -type f -print0 | xargs -0 sha256sum")
    first = pulled(pods, tmp_path, lambda stream: Cut(stream, 30 << 20, pods.cluster.stop_api))
    pods.cluster.start_api()
    assert first.result == "failed"

    again = pulled(pods, tmp_path)

    assert (again.result, again.trouble) == ("new", None)
    assert again.bytes < 105 << 20
    for line in sums[1].decode().splitlines():
        wanted, name = line.split(None, 1)
        assert hashlib.sha256((again.path / "api" / name).read_bytes()).hexdigest() == wanted
    assert pulled(pods, tmp_path).result == "unchanged"
