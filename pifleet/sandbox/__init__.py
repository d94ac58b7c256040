"""Owns the contract of a sandbox: what every pattern's driver can do with one that has been made.
It must not know how a pattern does it, and makes, changes or removes no sandbox: that is the roles' work."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, Self

from pifleet.fleet import DOCKER, Host, Sandbox
from pifleet.stream import Stream

WORKSPACE = "/workspace"
_DRIVERS = {DOCKER: ("pifleet.sandbox.docker", "DockerDriver")}


class Driver(Protocol):
    """Operates the sandboxes of one pattern on one host; connects at first use, a context manager that closes."""

    def __init__(self, host: Host) -> None: ...

    def stream(self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE) -> Stream:
        """Start a program inside as the sandbox's user. Raises HostFailed; what goes wrong inside is its exit code."""

    def terminal_argv(
        self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE, *, tty: bool = True
    ) -> list[str]:
        """The local program that runs `argv` inside on the caller's terminal, or without `tty` on its plain streams."""

    def attach_argv(self, sandbox: Sandbox) -> list[str]:
        """The local program that shows the sandbox's pi on the caller's terminal; pi outlives it."""

    def state(self, sandbox: Sandbox) -> str:
        """running|stopped|starting|missing|error|unknown. Raises HostFailed."""

    def require_running(self, sandbox: Sandbox) -> None:
        """Return when programs can be started inside. Raises SandboxFailed with the next command, or HostFailed."""

    def start(self, sandbox: Sandbox) -> None:
        """Start it; nothing happens to one that runs. Raises SandboxFailed, HostFailed."""

    def stop(self, sandbox: Sandbox) -> None:
        """End everything inside, in order; nothing happens to one that is stopped. Raises SandboxFailed, HostFailed."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def driver_for(pattern: str) -> type[Driver]:
    """The driver of a pattern of the fleet; loaded when asked for."""
    module, name = _DRIVERS[pattern]
    driver: type[Driver] = getattr(import_module(module), name)
    return driver
