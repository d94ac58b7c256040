"""Owns what a host's ansible_* variables may say and the `Connection` that follows from them.
It must not open a connection or know what the host is for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pifleet.errors import Mistakes
from pifleet.fleet import Connection
from pifleet.inventory.rules import Text
from pifleet.secret import Secret
from pifleet.wording import nearest, path, show

ADDRESS = Text(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*", "use a host name or an address", 253)
USER = Text(r"[A-Za-z_][A-Za-z0-9_.@-]*", "use the name of a user", 64)
JUMP = Text(r"[A-Za-z0-9_\[][A-Za-z0-9_.@:,\[\]-]*", "use [USER@]HOST[:PORT], more of them with commas between", 1000)
COMMAND = Text(r"[^\x00-\x1f\x7f-][^\x00-\x1f\x7f]*", "use a command line without control characters", 2000)
PLACE = Text(r"(?:/|~/)[^\x00-\x1f\x7f]*", 'use an absolute path, such as "{{ inventory_dir }}/key"', 4000)
PYTHON = Text(r"/[A-Za-z0-9_./+-]+", "use an absolute path, such as /usr/bin/python3", 1000)

SSH_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
SSH_OPTIONS = {"proxyjump": JUMP, "proxycommand": COMMAND, "userknownhostsfile": PLACE}
PASSWORDS = ("ansible_password", "ansible_ssh_pass")
BECOME_PASSWORDS = ("ansible_become_password", "ansible_become_pass")
TEXTS = {
    "ansible_host": ADDRESS, "ansible_user": USER, "ansible_ssh_private_key_file": PLACE,
    "ansible_python_interpreter": PYTHON,
    "ansible_connection": Text("ssh|local", "use ssh or local"),
    "ansible_become_method": Text("sudo", "use sudo"),
}
SPEED_ONLY = ("ansible_pipelining", "ansible_ssh_pipelining")
KNOWN = (*TEXTS, "ansible_port", "ansible_become", *PASSWORDS, *BECOME_PASSWORDS, *SSH_ARGUMENTS, *SPEED_ONLY)


def connection(
    host: str, variables: Mapping[str, Any], mistakes: Mistakes, *, known_hosts: str = "",
    become_password: Secret | None = None,
) -> Connection:
    """How to reach a host; `known_hosts` and `become_password` count where the host's own variables say nothing."""
    own = {name: value for name, value in variables.items() if name.startswith("ansible_") and value not in (None, "")}
    for name in own:
        if name not in KNOWN:
            near = nearest(name, KNOWN)
            mistakes.add(path("hosts", host, name), "an argument that pifleet does not honour",
                         f"remove it, or did you mean {near}?" if near else "remove it")
    text = {name: _text(host, name, own, mistakes) for name in TEXTS}
    if not isinstance(own.get("ansible_become", True), bool):
        mistakes.add(path("hosts", host, "ansible_become"), show(own["ansible_become"]), "use true or false")
    ssh = {}
    for name in SSH_ARGUMENTS:
        ssh.update(_ssh_arguments(path("hosts", host, name), own.get(name, ""), mistakes))
    plain = Connection(
        address=text["ansible_host"],
        port=_port(host, own, mistakes),
        user=text["ansible_user"],
        key_file=_expanded(text["ansible_ssh_private_key_file"]),
        password=_first(own, PASSWORDS),
        become_password=_first(own, BECOME_PASSWORDS) or become_password,
        proxy_jump=ssh.get("proxyjump", ""),
        proxy_command=ssh.get("proxycommand", ""),
        known_hosts=_expanded(ssh.get("userknownhostsfile", "")) or known_hosts,
        local=text["ansible_connection"] == "local",
    )
    return replace(plain, python=text["ansible_python_interpreter"]) if text["ansible_python_interpreter"] else plain


def _text(host: str, name: str, own: Mapping[str, Any], mistakes: Mistakes) -> str:
    if name not in own:
        return ""
    if not TEXTS[name].allows(own[name]):
        mistakes.add(path("hosts", host, name), show(own[name]), TEXTS[name].wanted)
        return ""
    return str(own[name])


def _port(host: str, own: Mapping[str, Any], mistakes: Mistakes) -> int | None:
    if "ansible_port" not in own:
        return None
    port = own["ansible_port"]
    if isinstance(port, bool) or not re.fullmatch(r"[0-9]{1,5}", str(port)) or not 0 < int(port) < 65536:
        mistakes.add(path("hosts", host, "ansible_port"), show(port), "use a port from 1 to 65535")
        return None
    return int(port)


def _first(own: Mapping[str, Any], names: tuple[str, ...]) -> Secret | None:
    return next((own[name] for name in names if isinstance(own.get(name), Secret)), None)


def _expanded(place: str) -> str:
    return str(Path(place).expanduser()) if place else ""


def _ssh_arguments(where: str, line: Any, mistakes: Mistakes) -> dict[str, str]:
    """The options of an ssh command line that pifleet honours; any other is a mistake by its name (ssh(1))."""
    try:
        words = shlex.split(str(line))
    except ValueError as error:
        mistakes.add(where, show(str(line)), f"close its quotes ({error})".lower())
        return {}
    options: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if not word.startswith(("-J", "-o")) or not (word[2:] or words):
            mistakes.add(where, f"ssh argument {show(word)}", _honoured())
            break
        value = word[2:] or words.pop(0)
        name, value = ("ProxyJump", value) if word.startswith("-J") else _option(value)
        rule = SSH_OPTIONS.get(name.lower())
        if rule is None:
            mistakes.add(where, f"ssh option {show(name)}", _honoured())
        elif not rule.allows(value):
            mistakes.add(where, f"{name} {show(value)}", rule.wanted)
        else:
            options.setdefault(name.lower(), value)
    return options


def _option(text: str) -> tuple[str, str]:
    """`Name=value`, `Name = value` or `Name value`, as ssh_config(5) reads an option."""
    name, value = re.findall(r"^\s*(\w*)\s*=?\s*(.*?)\s*$", text, re.DOTALL)[0]
    return name, value


def _honoured() -> str:
    return "remove it; pifleet honours ProxyJump, ProxyCommand and UserKnownHostsFile"
