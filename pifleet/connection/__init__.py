"""Owns the way to a host: `connect` opens it, a Link runs programs over it, `ssh_argv` is the same way for people.
It must not know what runs over a link, or why."""

from __future__ import annotations

from pifleet.connection.client import ssh_argv, where
from pifleet.connection.link import Done, Link, LocalLink, root_argv, tail
from pifleet.errors import HostFailed
from pifleet.fleet import Host

__all__ = ["Done", "Link", "connect", "root_argv", "ssh_argv", "tail"]


def connect(host: Host) -> Link:
    """Open the way to `host`: connected within 10 s, logged in within 15 s more.

    Raises HostFailed(unreachable=True) saying what to do, also for a cluster, which is no machine.
    """
    if host.cluster:
        raise HostFailed(f"{host.name} is a cluster, and has no machine to log in to", where=where(host))
    if host.connection.local:
        return LocalLink(host)
    from pifleet.connection.ssh import SshLink

    return SshLink(host)
