"""Owns what every driver has of its host: one connection, opened at first use, again after it broke, closed in the end.
It must not know how a pattern operates its sandboxes."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from typing import Self

from pifleet.connection import Link, connect, root_argv, ssh_argv
from pifleet.errors import HostFailed, SandboxFailed
from pifleet.fleet import Host, Sandbox


class Linked:
    """The part of a `pifleet.sandbox.Driver` that does not depend on its pattern."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._link: Link | None = None
        self._connecting = threading.Lock()
        self._gone: HostFailed | None = None

    def close(self) -> None:
        if self._link:
            self._link.close()
            self._link = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _connected(self) -> Link:
        with self._connecting:
            if self._gone:
                raise self._gone
            if self._link and not self._link.alive:
                self.close()
                self._link = self._again()
            if self._link is None:
                self._link = connect(self._host)
            return self._link

    def _again(self) -> Link:
        """Raises HostFailed, and from then on at once: a host that went costs one wait, not one for each sandbox."""
        try:
            return connect(self._host)
        except HostFailed as error:
            self._gone = error
            raise

    def _at_terminal(self, argv: Sequence[str], *, tty: bool) -> list[str]:
        """What a person's terminal starts to have root of the host start `argv`."""
        ssh, as_root = ssh_argv(self._host, tty=tty), root_argv(argv)
        return [*ssh, shlex.join(as_root)] if ssh else as_root

    def _did_not(self, sandbox: Sandbox, verb: str, saw: str) -> SandboxFailed:
        return SandboxFailed(f"{sandbox.title} on {self._host.name} did not {verb}", saw=saw,
                             try_=f"pifleet plan --limit {self._host.name}")
