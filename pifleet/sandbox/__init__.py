"""Owns the contract of a sandbox: what every pattern's driver can do with one that has been made.
It must not know how a pattern does it, and makes, changes or removes no sandbox: that is the roles' work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from pifleet.fleet import DOCKER, GONDOLIN, OPENSHELL, POD, Host, Sandbox
from pifleet.secret import Secret
from pifleet.stream import Stream

WORKSPACE = "/workspace"
HOME = "/home/pi"
# Where something runs in a sandbox: with the commands of pi and of people, beside pi itself, or as one of pifleet's own
# programs, which see workspace and home. In most patterns these are one place.
Place = Literal["tools", "agent", "work"]
SESSIONS = f"{HOME}/.pi/agent/sessions"
_DRIVERS = {
    DOCKER: ("pifleet.sandbox.docker", "DockerDriver"),
    GONDOLIN: ("pifleet.sandbox.gondolin", "GondolinDriver"),
    OPENSHELL: ("pifleet.sandbox.openshell", "OpenShellDriver"),
    POD: ("pifleet.sandbox.pod", "PodDriver"),
}


class Driver(Protocol):
    """Operates the sandboxes of one pattern on one host; connects at first use, a context manager that closes."""

    # Whether a sandbox that is replaced where it is holds its work again by itself.
    keeps_work: ClassVar[bool]

    def __init__(self, host: Host) -> None: ...

    @staticmethod
    def seen(found: Mapping[str, Any]) -> tuple[str, str | None]:
        """State, in the words of `state`, and image of a sandbox that a look at its host found."""

    def stream(
        self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE, place: Place = "tools"
    ) -> Stream:
        """Start a program inside as the sandbox's user. Raises HostFailed; what goes wrong inside is its exit code."""

    def claimed(self, sandbox: Sandbox, argv: Sequence[str], what: str, store: Path) -> Stream:
        """The same for `what` moves the sandbox's work to or from `store`; nobody else does or ends it meanwhile.

        This, or the stream's `read`, raises SandboxFailed when somebody else is at it: who, and since when.
        """

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

    def open_again(self, sandbox: Sandbox) -> None:
        """Have `stream` reach what is in it, started for that, or in a closed copy where it will never start again.

        Raises SandboxFailed, HostFailed. A copy is gone when the driver closes.
        """

    def stop(self, sandbox: Sandbox) -> None:
        """End everything inside, in order; nothing happens to one that is stopped.

        Raises SandboxFailed, also when somebody moves its work or ends it: who, and since when. Raises HostFailed.
        """

    def outside(self, sandbox: Sandbox, keys: Sequence[Secret] = ()) -> Mapping[str, Any]:
        """What only its host can say. Raises HostFailed.

        `keys` found in it, the host's own or, where its pattern has none on the host, those that are given; `bases`,
        the commit of each repository; `clients`, where the host's own look for which its list has a word.
        """

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def driver_for(pattern: str) -> type[Driver]:
    """The driver of a pattern of the fleet; loaded when asked for."""
    module, name = _DRIVERS[pattern]
    driver: type[Driver] = getattr(import_module(module), name)
    return driver
