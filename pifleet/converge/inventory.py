"""Owns how Ansible reaches the hosts of a run: the fleet's connections in Ansible's words, given out by a script.
It must not read the operator's inventory again; passwords pass through the broker's socket, never through a file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pifleet.fleet import Connection, Host

_SCRIPT = """\
#!{python}
import socket, sys
asker = socket.socket(socket.AF_UNIX)
asker.connect({socket!r})
asker.sendall(b"inventory\\n")
while chunk := asker.recv(65536):
    sys.stdout.buffer.write(chunk)
"""


def inventory_script(folder: Path) -> Path:
    """An executable inventory in `folder` that asks the broker beside it."""
    script = folder / "inventory.py"
    script.write_text(_SCRIPT.format(python=sys.executable, socket=str(folder / "broker.sock")), encoding="utf-8")
    script.chmod(0o700)
    return script


def ansible_inventory(hosts: Mapping[str, Host]) -> dict[str, Any]:
    """The JSON that an Ansible inventory script prints (docs: Ansible, "Developing dynamic inventory")."""
    groups: dict[str, Any] = {}
    for name, host in hosts.items():
        for group in host.groups:
            groups.setdefault(group, {"hosts": []})["hosts"].append(name)
    variables = {name: ansible_variables(host.connection) for name, host in hosts.items()}
    return {**groups, "_meta": {"hostvars": variables}}


def ansible_variables(connection: Connection) -> dict[str, Any]:
    """One host's connection as Ansible's variables; passwords are in clear, so the result is never written down."""
    found: dict[str, Any] = {
        "ansible_connection": "local" if connection.local else "ssh",
        "ansible_host": connection.address,
        "ansible_port": connection.port,
        "ansible_user": connection.user,
        "ansible_ssh_private_key_file": connection.key_file,
        "ansible_python_interpreter": connection.python,
        "ansible_password": connection.password.reveal() if connection.password else None,
        "ansible_become_password": connection.become_password.reveal() if connection.become_password else None,
        "ansible_ssh_common_args": shlex.join(_ssh_options(connection)),
    }
    return {key: value for key, value in found.items() if value not in (None, "")}


def _ssh_options(connection: Connection) -> list[str]:
    options = {
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": connection.known_hosts,
        "ProxyJump": connection.proxy_jump,
        "ProxyCommand": connection.proxy_command,
    }
    return [part for name, value in options.items() if value for part in ("-o", f"{name}={value}")]
