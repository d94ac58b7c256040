"""What Ansible is handed, and what its events mean."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

from pifleet.converge.broker import Broker
from pifleet.converge.inventory import ansible_inventory, ansible_variables, inventory_script
from pifleet.converge.listen import Listener
from pifleet.events import Event, silent
from pifleet.fleet import Connection, Host
from pifleet.secret import Secret


def ask(path: Path, name: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(str(path))
        asker.sendall(name)
        asker.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: asker.recv(4096), b""))


class TestBroker:
    def test_answers_a_name_with_its_value_and_an_unknown_one_with_nothing(self, tmp_path: Path) -> None:
        with Broker(tmp_path / "s", {"model:claude": "sk-1"}):
            assert ask(tmp_path / "s", b"model:claude\n") == b"sk-1"
            assert ask(tmp_path / "s", b"model:other\n") == b""

    def test_survives_an_asker_that_sends_rubbish_or_hangs_up(self, tmp_path: Path) -> None:
        with Broker(tmp_path / "s", {"a": "1"}):
            assert ask(tmp_path / "s", b"\xff\n") == b""
            assert ask(tmp_path / "s", b"") == b""
            assert ask(tmp_path / "s", b"a\n") == b"1"

    def test_its_socket_is_private_and_gone_afterwards(self, tmp_path: Path) -> None:
        with Broker(tmp_path / "s", {}):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        assert not (tmp_path / "s").exists()


class TestInventory:
    def test_a_password_reaches_ansible_through_the_socket_and_no_file(self, tmp_path: Path) -> None:
        host = Host("farm-1", ("pifleet_docker",), Connection(address="192.0.2.1", become_password=Secret("tops3cret")))
        answer = json.dumps(ansible_inventory({"farm-1": host}))
        with Broker(tmp_path / "broker.sock", {"inventory": answer}):
            printed = subprocess.run([inventory_script(tmp_path)], capture_output=True, check=True).stdout

        assert json.loads(printed)["_meta"]["hostvars"]["farm-1"]["ansible_become_password"] == "tops3cret"
        assert not any(b"tops3cret" in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())

    def test_host_keys_are_always_verified(self) -> None:
        args = ansible_variables(Connection(address="h", known_hosts="/k h", proxy_jump="b"))["ansible_ssh_common_args"]

        assert args == "-o StrictHostKeyChecking=yes -o 'UserKnownHostsFile=/k h' -o ProxyJump=b"


def event(kind: str, host: str = "farm-1", **data: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": {"host": host, "role": "pifleet.fleet.docker", "task": "Install", **data}}


class TestListener:
    def test_a_failed_task_becomes_the_hosts_trouble_with_the_modules_own_words(self) -> None:
        listener = Listener(["farm-1"], silent)
        listener.hear(event("runner_on_failed", res={"msg": "no candidate", "saw": "E: Unable", "try": "apt update"}))

        trouble = listener.hosts["farm-1"].trouble

        assert trouble is not None
        seen = (trouble.headline, trouble.saw, trouble.where, trouble.try_)
        assert seen == ("no candidate", "E: Unable", "docker: Install, on farm-1", "apt update")

    def test_an_ignored_failure_is_not_trouble(self) -> None:
        listener = Listener(["farm-1"], silent)
        listener.hear(event("runner_on_failed", ignore_errors=True, res={"msg": "x"}))

        assert listener.hosts["farm-1"].trouble is None

    def test_a_run_that_dies_without_a_word_is_trouble_on_every_host(self) -> None:
        listener = Listener(["farm-1", "farm-2"], silent)
        listener.finish("ERROR! no such playbook", 1.0)

        assert {run.trouble.saw for run in listener.hosts.values() if run.trouble} == {"ERROR! no such playbook"}
        assert all(run.trouble for run in listener.hosts.values())

    def test_each_task_updates_the_hosts_line(self) -> None:
        said: list[Event] = []
        Listener(["farm-1"], said.append).hear(event("runner_on_start"))

        assert said == [Event("hosts", "farm-1", text="docker: Install")]

    def test_hosts_that_were_not_asked_for_are_not_spoken_of(self) -> None:
        listener = Listener(["farm-1"], silent)
        listener.hear(event("runner_on_unreachable", host="other", res={}))

        assert list(listener.hosts) == ["farm-1"]
