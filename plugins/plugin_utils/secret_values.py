"""Owns how an action plugin gets a secret's value on the controller, for the one call that carries it to a host.
It must not keep a value, put it into a variable, or send it any other way than through a pipelined connection."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail

LARGEST = 1 << 20
SECONDS = 60
# Characters with a meaning inside a quoted word of nginx's configuration.
UNSAFE = frozenset('"\\$')


def fetch(name: str, task_vars: Mapping[str, Any]) -> str:
    """The value of a secret that a spec names, from pifleet's socket, else from where the inventory says it is."""
    path = task_vars.get("pifleet_secrets")
    value = _from_socket(str(path), name) if path else _from_inventory(name, task_vars)
    if not value:
        raise AnsibleActionFail(f"secret {name} has no value; run pifleet doctor")
    return value


def content(entry: Mapping[str, Any], task_vars: Mapping[str, Any]) -> str:
    """What a file of a spec holds: the template of its entry, with the value of the secret that it names put in."""
    value = fetch(entry["secret"], task_vars)
    lines = value.split("\n") if entry.get("lines") else [value]
    if not value.isascii() or not all(map(str.isprintable, lines)) or UNSAFE.intersection(value):
        raise AnsibleActionFail(
            f'secret {entry["secret"]} holds a character that cannot be sent in a header: '
            'only printable ASCII without ", \\ and $ can'
        )
    return str(entry["template"]).replace("{}", value)


def require_pipelining(action: Any) -> None:
    """Fail where Ansible would write a module and its arguments to a file on the host."""
    if not action._is_pipelining_enabled("new"):
        raise AnsibleActionFail(
            "secrets are only sent through a pipelined connection: set ansible_pipelining to true, "
            "and neither ANSIBLE_KEEP_REMOTE_FILES nor a become method that cannot pipeline"
        )


def _from_socket(path: str, name: str) -> str:
    value = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SECONDS)
            connection.connect(path)
            connection.sendall(name.encode() + b"\n")
            while chunk := connection.recv(65536):
                value += chunk
                if len(value) > LARGEST:
                    raise AnsibleActionFail(f"secret {name} is larger than {LARGEST} bytes")
    except OSError as error:
        raise AnsibleActionFail(f"secret {name} could not be asked for: {error}") from None
    return value.decode()


def _from_inventory(name: str, task_vars: Mapping[str, Any]) -> str:
    try:
        from pifleet.playbook import secret_for_playbook
    except ImportError:
        raise AnsibleActionFail(
            "the pifleet package is not installed beside ansible-core, so nobody knows where secrets are; "
            "use: pifleet provision INVENTORY"
        ) from None
    from pifleet.errors import PifleetError

    try:
        return str(secret_for_playbook(task_vars["ansible_inventory_sources"], name))
    except PifleetError as error:
        raise AnsibleActionFail(f"secret {name}: {error.trouble.headline}") from None
