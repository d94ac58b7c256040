"""Links to a real sshd on this machine, and to servers that do not behave."""

from __future__ import annotations

import gc
import os
import shlex
import socket
import subprocess
import threading
import time
from pathlib import Path

import paramiko
import pytest
from paramiko.common import cMSG_CHANNEL_DATA, cMSG_CHANNEL_EOF

from pifleet.connection import connect, ssh, ssh_argv
from pifleet.errors import HostFailed
from pifleet.sandbox import linked
from pifleet.sandbox.linked import Linked
from pifleet.stream import StreamTimeout
from pifleet.threads import side_by_side
from tests.integration.sshd import SSHD, Sshd, free_port, keygen

pytestmark = pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed: apt-get install openssh-server")


@pytest.fixture
def sshd(tmp_path):
    server = Sshd(tmp_path)
    yield server
    server.stop()


def failure(host) -> HostFailed:
    with pytest.raises(HostFailed) as caught:
        connect(host).close()
    assert caught.value.unreachable
    return caught.value


def test_an_unknown_host_key_is_refused_with_its_fingerprint_and_the_command_that_accepts_it(sshd, tmp_path):
    sshd.known_hosts.write_text("", encoding="utf-8")
    trouble = failure(sshd.host).trouble
    listed = subprocess.check_output(["ssh-keygen", "-lf", str(tmp_path / "host_key.pub")], text=True)
    assert trouble.headline == "farm-1: its host key is not known"
    assert trouble.saw == f"ssh-ed25519 {listed.split()[1]}"
    assert "StrictHostKeyChecking=ask" in trouble.try_
    accepted = trouble.try_.replace("StrictHostKeyChecking=ask", "StrictHostKeyChecking=accept-new")
    subprocess.run(["sh", "-c", accepted], check=True)
    connect(sshd.host).close()


def test_a_missing_known_hosts_file_means_that_no_key_is_known(sshd):
    sshd.known_hosts.unlink()
    assert failure(sshd.host).trouble.headline == "farm-1: its host key is not known"
    assert not sshd.known_hosts.exists()


def test_a_changed_host_key_is_refused_with_both_fingerprints(sshd, tmp_path):
    keygen(tmp_path / "old")
    sshd.know((tmp_path / "old.pub").read_text(encoding="utf-8"))
    trouble = failure(sshd.host).trouble
    assert trouble.headline.startswith("farm-1: its host key has changed")
    assert trouble.saw.count("SHA256:") == 2
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}' -f {sshd.known_hosts}" in trouble.try_


def test_a_refused_login_names_the_user_and_address(sshd, tmp_path):
    keygen(tmp_path / "other")
    trouble = failure(sshd.reached(key_file=str(tmp_path / "other"))).trouble
    assert trouble.headline == f"farm-1: login as {sshd.host.connection.user}@127.0.0.1 was refused"
    assert trouble.try_.startswith("ssh ")


def test_a_port_where_nothing_listens_is_named(sshd):
    port = free_port()
    assert failure(sshd.reached(port=port)).trouble.headline == f"farm-1: did not answer at 127.0.0.1 port {port}"


def test_a_name_without_address_is_told_apart(sshd):
    assert failure(sshd.reached(address="no-such-host.invalid")).trouble.headline == (
        "farm-1: no address is known for no-such-host.invalid")


@pytest.mark.parametrize("banner", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"], ids=["silent", "banner only"])
def test_a_server_that_accepts_and_then_hangs_does_not_hang_us(sshd, monkeypatch, banner):
    monkeypatch.setattr(ssh, "LOGIN_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def accept() -> None:
            peer, _ = server.accept()
            held.append(peer)
            peer.sendall(banner)

        threading.Thread(target=accept, daemon=True).start()
        began = time.monotonic()
        trouble = failure(sshd.reached(port=server.getsockname()[1])).trouble
    assert time.monotonic() - began < 5
    assert trouble.headline == "farm-1: accepted the connection, but did not speak ssh in time"


def test_the_watchdog_ends_a_login_that_drips(sshd, monkeypatch):
    monkeypatch.setattr(ssh, "LOGIN_SECONDS", 0.5)
    monkeypatch.setattr(ssh, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        def drip() -> None:
            peer, _ = server.accept()
            try:
                while True:
                    peer.sendall(b"hello\r\n")
                    time.sleep(0.2)
            except OSError:
                pass

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        failure(sshd.reached(port=server.getsockname()[1]))
    assert time.monotonic() - began < 6


@pytest.fixture
def narrow(sshd):
    """A server that takes two sessions on one connection, and one login at a time."""
    sshd.restart("MaxSessions 2\nMaxStartups 1:100:1\n")
    time.sleep(0.5)  # until it has forgotten who asked whether it is there
    return sshd


def test_a_server_that_is_busy_with_other_logins_is_asked_again(narrow):
    with socket.create_connection(("127.0.0.1", narrow.port)) as other:
        assert other.recv(4) == b"SSH-"
        threading.Timer(1, other.close).start()
        with connect(narrow.host) as link:
            assert link.run(["true"], root=False).code == 0


def test_a_server_that_stays_busy_with_other_logins_is_said(narrow, monkeypatch):
    monkeypatch.setattr(ssh, "BUSY_SECONDS", 1)
    with socket.create_connection(("127.0.0.1", narrow.port)) as other:
        assert other.recv(4) == b"SSH-"
        trouble = failure(narrow.host).trouble
    assert trouble.headline == "farm-1: closed the connection before the login"
    assert "MaxStartups" in trouble.saw


def test_more_programs_than_a_server_takes_sessions_wait_for_one_another(narrow):
    with connect(narrow.host) as link:
        done = side_by_side(range(6), lambda number: link.run(["sh", "-c", f"sleep 0.3; echo {number}"], root=False), 6)
    assert [(one.code, one.stdout) for one in done] == [(0, b"%d\n" % number) for number in range(6)]


def test_a_session_that_never_becomes_free_is_said(narrow, monkeypatch):
    monkeypatch.setattr(ssh, "ROOM_SECONDS", 1)
    with connect(narrow.host) as link:
        held = [link.stream(["sleep", "60"], root=False) for _ in range(2)]
        with pytest.raises(HostFailed) as caught:
            link.run(["true"], root=False)
        for stream in held:
            stream.close()
    assert not caught.value.unreachable
    assert caught.value.trouble.headline == "farm-1: its ssh server takes no more sessions on one connection"
    assert "MaxSessions" in caught.value.trouble.try_


@pytest.mark.parametrize("late", [cMSG_CHANNEL_EOF, cMSG_CHANNEL_DATA], ids=["the end of input", "input"])
def test_a_word_that_is_late_for_its_program_does_not_end_the_connection(sshd, monkeypatch, late):
    on_time = paramiko.Transport._send_user_message

    def send(transport, message):
        if message.asbytes()[:1] == late:
            time.sleep(0.3)
        on_time(transport, message)

    with connect(sshd.host) as link:
        monkeypatch.setattr(paramiko.Transport, "_send_user_message", send)
        before = link.run(["echo", "hello"], b"input", root=False)
        time.sleep(0.6)
        after = link.run(["echo", "hello"], root=False)
    assert (before.stdout, after.stdout) == (b"hello\n", b"hello\n")


def test_arguments_arrive_as_they_are_and_bytes_are_untouched(sshd):
    hostile = ["a b", "$(id)", "'", '"', ";", "*", "-n", "", "ü\n", "%h"]
    data = bytes(range(256)) * 4000
    with connect(sshd.host) as link:
        done = link.run(["printf", "%s\\0", *hostile])
        assert done.stdout.decode().split("\0")[:-1] == hostile
        assert link.run(["cat"], stdin=data).stdout == data
        done = link.run(["sh", "-c", "echo no >&2; exit 7"])
        assert (done.code, done.stderr) == (7, b"no\n")


@pytest.mark.parametrize(("served", "taken"), [
    ("aes256-ctr,aes128-gcm@openssh.com", "aes128-gcm@openssh.com"), ("aes256-ctr", "aes256-ctr"),
])
def test_of_the_servers_ciphers_one_that_needs_no_mac_is_taken(sshd, served, taken):
    sshd.restart(f"Ciphers {served}\n")
    with connect(sshd.host) as link:
        assert link._fabric.transport.remote_cipher == taken
        assert link.run(["cat"], stdin=b"there and back", root=False).stdout == b"there and back"


def test_streams_of_one_link_run_side_by_side_and_time_out_alone(sshd):
    with connect(sshd.host) as link:
        slow, quick = link.stream(["cat"]), link.stream(["cat"])
        with pytest.raises(StreamTimeout):
            slow.read(1, 0.1)
        quick.send(b"x")
        assert quick.read(10, 5) == b"x"
        quick.end()
        assert quick.read(10, 5) == b""
        assert quick.wait(5) == 0
        slow.close()


def test_much_standard_error_does_not_block_a_program(sshd):
    with connect(sshd.host) as link:
        done = link.run(["sh", "-c", "head -c 8000000 /dev/zero >&2; echo done"], timeout=30)
        assert done.stdout == b"done\n"
        assert len(done.stderr) == 64 * 1024


def test_endless_complaining_does_not_stretch_the_time(sshd):
    began = time.monotonic()
    with connect(sshd.host) as link, pytest.raises(HostFailed):
        link.run(["sh", "-c", "yes >&2"], timeout=1)
    assert time.monotonic() - began < 10


def test_a_program_that_does_not_end_is_left_after_its_time(sshd):
    with connect(sshd.host) as link:
        with pytest.raises(HostFailed) as caught:
            link.run(["sleep", "60"], timeout=0.5)
        assert caught.value.trouble.headline.startswith("farm-1: sleep did not end within")
        assert link.run(["true"]).code == 0


def test_a_connection_that_breaks_ends_the_stream_with_255(sshd):
    link = connect(sshd.host)
    stream = link.stream(["sh", "-c", "echo $PPID; exec sleep 60"])
    session = int(stream.read(100, 5))
    os.kill(session, 9)
    assert stream.read(100, 10) == b""
    assert stream.wait(5) == 255
    link.close()


def test_a_driver_has_one_connection_whoever_asks_first_and_another_after_it_broke(sshd):
    with Linked(sshd.host) as driver:
        [link] = set(side_by_side(range(8), lambda _: driver._connected(), 8))
        stream = link.stream(["sh", "-c", "echo $PPID; exec sleep 60"])
        os.kill(int(stream.read(100, 5)), 9)
        assert stream.wait(10) == 255

        assert driver._connected() is not link
        assert driver._connected().run(["true"]).code == 0


def test_a_host_that_went_while_a_driver_was_at_it_costs_one_wait(sshd, monkeypatch):
    asked = []
    with Linked(sshd.host) as driver:
        stream = driver._connected().stream(["sh", "-c", "echo $PPID; exec sleep 60"])
        os.kill(int(stream.read(100, 5)), 9)
        assert stream.wait(10) == 255
        sshd.stop()
        monkeypatch.setattr(linked, "connect", lambda host: asked.append(host) or connect(host))

        for _ in range(3):
            with pytest.raises(HostFailed, match="did not answer"):
                driver._connected()
        assert asked == [sshd.host]


@pytest.fixture
def agent(sshd, monkeypatch):
    path = Path(sshd.folder) / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    while not path.exists():
        time.sleep(0.02)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    subprocess.run(["ssh-add", "-q", str(sshd.folder / "user_key")], check=True)
    yield
    process.terminate()
    process.wait()


def test_a_key_in_the_agent_is_enough(sshd, agent):
    with connect(sshd.reached(key_file="")) as link:
        assert link.run(["echo", "hi"]).stdout == b"hi\n"


def test_a_jump_host_carries_the_connection(sshd, agent):
    host = sshd.reached(proxy_jump=f"{sshd.host.connection.user}@127.0.0.1:{sshd.port}")
    with connect(host) as link:
        assert link.run(["sh", "-c", "echo $SSH_CONNECTION"]).stdout.startswith(b"127.0.0.1")
    plain = subprocess.run([*ssh_argv(host, tty=False), "echo through"], capture_output=True, text=True, check=True)
    assert plain.stdout == "through\n"


def test_a_proxy_command_carries_the_connection(sshd):
    relay = f"{shlex.join(ssh_argv(sshd.host, tty=False)[:-2])} -W %h:%p 127.0.0.1"
    with connect(sshd.reached(proxy_command=relay)) as link:
        assert link.run(["echo", "hi"]).stdout == b"hi\n"


def test_a_proxy_that_fails_is_quoted(sshd):
    trouble = failure(sshd.reached(proxy_command="sh -c 'echo no way >&2; exit 1'")).trouble
    assert trouble.headline == "farm-1: could not be reached through its proxy"
    assert trouble.saw == "no way"


def test_the_openssh_client_gets_the_same_settings(sshd):
    argv = ssh_argv(sshd.host, tty=False)
    assert subprocess.check_output([*argv, "echo 'a b'"]) == b"a b\n"
    sshd.known_hosts.write_text("", encoding="utf-8")
    assert subprocess.run([*argv, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 255


def test_a_closed_link_leaves_no_thread_and_no_socket(sshd):
    def held() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    gc.collect()  # what the tests before this one left
    before = held()
    for _ in range(3):
        with connect(sshd.host) as link:
            link.run(["true"])
    deadline = time.monotonic() + 5
    while held() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert held() == before
