"""Links to this machine, becoming root, and what the OpenSSH client is told."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import pytest

from pifleet.connection import connect, ssh_argv
from pifleet.errors import HostFailed
from pifleet.fleet import Connection, Host
from pifleet.secret import Secret

LOCAL = Host("here", ("pifleet_docker",), Connection(local=True))
FARM = Host("farm-1", ("pifleet_docker",), Connection(
    address="192.0.2.11", user="ops", known_hosts="/etc/fleet hosts", key_file="/keys/id"))


def with_password(text: str) -> Host:
    return replace(LOCAL, connection=replace(LOCAL.connection, become_password=Secret(text)))


@pytest.fixture
def as_user(tmp_path, monkeypatch):
    """A machine on which we are not root, and `sudo` is a program of the test's choice."""
    def install(sudo: str) -> None:
        for name, text in {"id": "echo 1000", "sudo": sudo}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return install


# Like sudo -S: it reads the password byte by byte and leaves the rest of the input to the program.
ASKING = """IFS= read -r given
[ "$given" = "p'w \\$x" ] || { echo "sudo: 1 incorrect password attempt" >&2; exit 1; }
"""
RUN = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'


def test_a_local_program_gets_its_input_and_gives_its_output():
    with connect(LOCAL) as link:
        done = link.run(["sh", "-c", "cat; echo no >&2; exit 3"], stdin=b"\0\xff", root=False)
    assert (done.code, done.stdout, done.stderr) == (3, b"\0\xff", b"no\n")


def test_a_program_that_ignores_its_input_is_no_failure():
    with connect(LOCAL) as link:
        assert link.run(["true"], stdin=b"x" * (1 << 20), root=False).code == 0


def test_a_program_that_is_not_there_is_a_failure_of_the_host():
    with connect(LOCAL) as link, pytest.raises(HostFailed) as caught:
        link.run(["/no/such/program"], root=False)
    assert caught.value.trouble.headline == "here: /no/such/program did not start"


def test_a_program_that_takes_too_long_is_ended():
    with connect(LOCAL) as link, pytest.raises(HostFailed) as caught:
        link.run(["sleep", "60"], root=False, timeout=0.2)
    assert "did not end within" in caught.value.trouble.headline


@pytest.mark.parametrize("script", ["echo why >&2; sleep 5 &", "yes why >&2"])
def test_neither_a_child_left_behind_nor_much_complaining_stretches_the_time(script):
    began = time.monotonic()
    with connect(LOCAL) as link, pytest.raises(HostFailed) as caught:
        link.run(["sh", "-c", script], root=False, timeout=0.5)
    assert time.monotonic() - began < 4
    assert "why" in caught.value.trouble.saw


def test_a_program_that_writes_without_end_is_cut_off():
    with connect(LOCAL) as link, pytest.raises(HostFailed) as caught:
        link.run(["yes"], root=False, timeout=30)
    assert caught.value.trouble.headline == "here: yes wrote more than 64 MiB"


@pytest.mark.parametrize("sudo", [ASKING + RUN, RUN], ids=["sudo asks", "sudo does not ask"])
def test_the_program_never_sees_the_become_password(as_user, sudo):
    as_user(sudo)
    with connect(with_password("p'w $x")) as link:
        done = link.run([sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"],
                        stdin=b"\0first\nlast\xff")
    assert (done.code, done.stdout) == (0, b"\0first\nlast\xff")


def test_the_password_is_on_no_command_line_and_in_no_environment(as_user):
    as_user(ASKING + RUN)
    with connect(with_password("p'w $x")) as link:
        seen = link.run(["sh", "-c", "cat /proc/[0-9]*/cmdline; cat /proc/self/environ"]).stdout
    assert seen
    assert b"p'w $x" not in seen


def test_a_wrong_password_is_named_and_not_shown(as_user):
    as_user(ASKING + RUN)
    with connect(with_password("wrong")) as link, pytest.raises(HostFailed) as caught:
        link.run(["cat"], stdin=b"data")
    assert caught.value.trouble.headline == "here: becoming root was refused"
    assert caught.value.trouble.saw == "sudo: 1 incorrect password attempt"
    assert "wrong" not in str(caught.value.trouble)


def test_a_sudo_that_needs_a_password_nobody_gave_says_how_to_give_it(as_user):
    as_user('[ "$1" = -n ] && { echo "sudo: a password is required" >&2; exit 1; }')
    with connect(LOCAL) as link, pytest.raises(HostFailed) as caught:
        link.run(["true"])
    assert "-K" in caught.value.trouble.try_


def test_the_openssh_client_is_told_everything_and_asked_nothing():
    assert ssh_argv(FARM, tty=True) == [
        "ssh", "-F", "none", "-t", "-o", "StrictHostKeyChecking=yes", "-o", 'UserKnownHostsFile="/etc/fleet hosts"',
        "-o", "GlobalKnownHostsFile=none", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15",
        "-i", "/keys/id", "-p", "22", "-l", "ops", "--", "192.0.2.11"]


def test_a_jump_becomes_the_proxy_that_openssh_would_use():
    jumping = replace(FARM, connection=replace(FARM.connection, proxy_jump="a,ops@[2001:db8::1]:2222", port=2200))
    proxy = next(word for word in ssh_argv(jumping, tty=False) if word.startswith("ProxyCommand="))
    assert proxy.endswith("-o BatchMode=yes -J a -l ops -p 2222 -W '[192.0.2.11]:2200' -- 2001:db8::1")


def test_a_proxy_command_gets_its_place_holders_filled_once():
    proxied = replace(FARM, connection=replace(FARM.connection, proxy_command="nc %h %p # %r %%h"))
    assert "ProxyCommand=nc 192.0.2.11 22 # ops %%h" in ssh_argv(proxied, tty=False)


def test_a_local_host_needs_no_ssh():
    assert ssh_argv(LOCAL, tty=True) == []
