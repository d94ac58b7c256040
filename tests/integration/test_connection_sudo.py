"""Becoming root on a real host whose sudo asks for a password."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from pifleet.connection import connect
from pifleet.errors import HostFailed
from pifleet.fleet import Connection, Host
from pifleet.secret import Secret
from tests.lab.farm import Lab
from tests.lab.fixtures import started

PASSWORD = f"it's $(odd) \\ {uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def host():
    Lab("sudo").down()
    lab = started("sudo", "farm-1", sudo_password=PASSWORD)
    farm = lab.host("farm-1")
    yield Host("farm-1", ("pifleet_docker",), Connection(
        address=farm.address, user="ops", key_file=str(farm.key), known_hosts=str(farm.known_hosts),
        become_password=Secret(PASSWORD)))
    lab.down()


def with_password(host: Host, password: str | None) -> Host:
    secret = None if password is None else Secret(password)
    return replace(host, connection=replace(host.connection, become_password=secret))


def test_with_its_password_a_program_runs_as_root_and_gets_only_its_own_input(host):
    data = bytes(range(256)) * 1000
    with connect(host) as link:
        assert link.run(["id", "-u"]).stdout == b"0\n"
        assert link.run(["id", "-u"], root=False).stdout != b"0\n"
        assert link.run(["cat"], stdin=data).stdout == data
        assert link.run(["sh", "-c", "exit 7"]).code == 7


def test_an_account_that_sudo_does_not_ask_gets_no_password_into_its_input(host):
    with connect(host) as link:
        link.run(["tee", "/etc/sudoers.d/zz-test"], stdin=b"ops ALL=(ALL) NOPASSWD: ALL\n")
        try:
            assert link.run(["cat"], stdin=b"first\n").stdout == b"first\n"
        finally:
            link.run(["rm", "/etc/sudoers.d/zz-test"])


def test_a_password_for_some_commands_only_makes_no_difference(host):
    with connect(host) as link:
        link.run(["tee", "/etc/sudoers.d/zz-test"], stdin=b"ops ALL=(ALL) NOPASSWD: /bin/true, /usr/bin/true\n")
        try:
            assert link.run(["cat"], stdin=b"first\n").stdout == b"first\n"
        finally:
            link.run(["rm", "/etc/sudoers.d/zz-test"])


def test_the_password_is_in_no_process_list_and_no_environment_on_the_host(host):
    with connect(host) as link:
        seen = link.run(["sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"]).stdout
    assert b"sudo" in seen
    assert PASSWORD.encode() not in seen


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_wrong_or_missing_password_is_a_failure_that_says_what_to_give(host, password):
    with connect(with_password(host, password)) as link, pytest.raises(HostFailed) as caught:
        link.run(["cat"], stdin=b"not a password\n")
    trouble = caught.value.trouble
    assert trouble.headline == "farm-1: becoming root was refused"
    assert trouble.saw.startswith("sudo: ")
    assert "-K" in trouble.try_
