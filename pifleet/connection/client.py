"""Owns what reaching a host looks like to the OpenSSH client: identity, port, proxy, strictly checked known hosts.
It is pure: nothing here opens a connection or reads a file."""

from __future__ import annotations

import getpass
import shlex
from pathlib import Path

from pifleet.fleet import Connection, Host

CONNECT_SECONDS = 10
KEEPALIVE_SECONDS = 15


def ssh_argv(host: Host, tty: bool) -> list[str]:
    """The OpenSSH client's argument list up to and with the address, for people; empty for a local host.

    The same identity, port, proxy and strictly checked known hosts as `connect`; what follows is one argument more
    for the remote shell.
    """
    return [] if host.connection.local else _argv(host, "-t" if tty else "-T", "yes")


def accept_command(host: Host) -> str:
    """What a person types to be shown the host's key and to accept it into the known hosts that pifleet reads."""
    return shlex.join([*_argv(host, "-T", "ask"), "true"])


def _argv(host: Host, terminal: str, check: str) -> list[str]:
    connection = host.connection
    options = _options(connection, check)
    if command := proxy_command_for(host):
        options += ["-o", f"ProxyCommand={command.replace('%', '%%')}"]
    if connection.key_file:
        options += ["-i", connection.key_file]
    return ["ssh", "-F", "none", terminal, *options, "-p", str(connection.port or 22), "-l", login_of(connection),
            "--", address_of(host)]


def proxy_command_for(host: Host) -> str:
    """The shell text that carries the connection, or empty; a jump is what OpenSSH makes of it (ssh -W)."""
    connection = host.connection
    port = connection.port or 22
    if connection.proxy_command:
        text = connection.proxy_command.replace("%%", "\0").replace("%h", address_of(host))
        return text.replace("%p", str(port)).replace("%r", login_of(connection)).replace("\0", "%")
    if not connection.proxy_jump:
        return ""
    *before, last = connection.proxy_jump.split(",")
    user, _, address = last.rpartition("@")
    address, jump_port = _split_port(address)
    return shlex.join([
        "ssh", *_options(connection, "yes"), "-o", "BatchMode=yes", *(["-J", ",".join(before)] if before else []),
        *(["-l", user] if user else []), *(["-p", jump_port] if jump_port else []),
        "-W", f"[{address_of(host)}]:{port}", "--", address,
    ])


def known_files(connection: Connection) -> list[str]:
    """The files that say which host keys are known, the one to add to first."""
    if connection.known_hosts:
        return [str(Path(connection.known_hosts).expanduser())]
    return [str(Path("~/.ssh/known_hosts").expanduser()), "/etc/ssh/ssh_known_hosts"]


def known_name(host: Host) -> str:
    """How a host is called in these files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")."""
    port = host.connection.port or 22
    return address_of(host) if port == 22 else f"[{address_of(host)}]:{port}"


def address_of(host: Host) -> str:
    """Where the host is reached: its own name, unless the inventory says otherwise."""
    return host.connection.address or host.name


def login_of(connection: Connection) -> str:
    """The account that logs in: the caller's own name, unless the inventory says otherwise."""
    return connection.user or getpass.getuser()


def where(host: Host) -> str:
    """The host in the inventory and how it is reached, for an error's `where`."""
    if host.connection.local:
        return f"inventory: hosts > {host.name} (this machine)"
    port = host.connection.port or 22
    return f"inventory: hosts > {host.name} ({login_of(host.connection)}@{address_of(host)}, port {port})"


def _options(connection: Connection, check: str) -> list[str]:
    files = " ".join(f'"{name}"' for name in known_files(connection))
    only = ["-o", "GlobalKnownHostsFile=none"] if connection.known_hosts else []
    return ["-o", f"StrictHostKeyChecking={check}", "-o", f"UserKnownHostsFile={files}", *only,
            "-o", f"ConnectTimeout={CONNECT_SECONDS}", "-o", f"ServerAliveInterval={KEEPALIVE_SECONDS}"]


def _split_port(address: str) -> tuple[str, str]:
    if address.startswith("["):
        inner, _, rest = address[1:].partition("]")
        return inner, rest.lstrip(":")
    name, _, port = address.partition(":")
    return (address, "") if ":" in port else (name, port)
