"""Owns operating sandboxes whose tools are in a micro-VM and whose pi is in a closed place of the host.
It must not make or change a sandbox, and never hands a shell anything that is not a whole argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pifleet import observe
from pifleet.connection import tail
from pifleet.desired import egress, gateway
from pifleet.errors import SandboxFailed
from pifleet.fleet import Sandbox
from pifleet.lock import claimed, run_claimed
from pifleet.patterns.gondolin.desired import PLACES, service
from pifleet.sandbox import WORKSPACE, Place
from pifleet.sandbox.linked import Linked
from pifleet.secret import Secret
from pifleet.stream import Stream

PROGRAM = ("/usr/bin/python3", "-I", str(PLACES))
SECONDS_TO_STOP = 60


class GondolinDriver(Linked):
    """A Driver for sandboxes of pattern gondolin; see pifleet.sandbox.Driver."""

    keeps_work = True  # its workspace is a folder of the host

    @staticmethod
    def seen(found: Mapping[str, Any]) -> tuple[str, str | None]:
        runtime = PurePosixPath(str(found["runtime"])).name
        return "running" if found["service"]["running"] else "stopped", f"gondolin {runtime}"

    def stream(
        self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE, place: Place = "tools"
    ) -> Stream:
        return self._connected().stream(enter_argv(sandbox, argv, workdir, place))

    def claimed(self, sandbox: Sandbox, argv: Sequence[str], what: str, store: Path) -> Stream:
        return claimed(self._connected(), sandbox, enter_argv(sandbox, argv, WORKSPACE, "work"), what, store)

    def terminal_argv(
        self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE, *, tty: bool = True
    ) -> list[str]:
        return self._at_terminal(enter_argv(sandbox, argv, workdir, "tools"), tty=tty)

    def attach_argv(self, sandbox: Sandbox) -> list[str]:
        pi = ["tmux", "-u", "new-session", "-A", "-s", "pi", "--", "pi"]
        return self._at_terminal(enter_argv(sandbox, pi, WORKSPACE, "agent"), tty=True)

    def state(self, sandbox: Sandbox) -> str:
        return "running" if self._ask(sandbox, "observe")["running"] else "stopped"

    def require_running(self, sandbox: Sandbox) -> None:
        state = self.state(sandbox)
        if state != "running":
            raise SandboxFailed(f"{sandbox.title} on {self._host.name} is {state}",
                                try_=f"pifleet start {sandbox.title}")

    def start(self, sandbox: Sandbox) -> None:
        self._done(sandbox, "start", str(self._ask(sandbox, "start")["error"]))

    def open_again(self, sandbox: Sandbox) -> None:
        """Nothing has to run: its files are the host's, and looked at from a place that is made for that."""

    def stop(self, sandbox: Sandbox) -> None:
        done = run_claimed(self._connected(), sandbox, [*PROGRAM, "stop", sandbox.id], "stop", SECONDS_TO_STOP)
        self._done(sandbox, "stop", tail(done.stderr) if done.code else "")

    def outside(self, sandbox: Sandbox, keys: Sequence[Secret] = ()) -> Mapping[str, Any]:
        request = {"keys": [gateway.keys(), egress.keys()], "group": f"/pifleet/{sandbox.id}/",
                   "root": str(sandbox.root), "clients": sandbox.egress_sets}
        said = observe.ask(self._host, "outside", request, self._connected())
        return said if isinstance(said, dict) else {}

    def _done(self, sandbox: Sandbox, verb: str, error: str) -> None:
        if error:
            raise self._did_not(sandbox, verb, error)

    def _ask(self, sandbox: Sandbox, verb: str) -> Mapping[str, Any]:
        request = {"do": verb, "service": service(sandbox)}
        said: Mapping[str, Any] = observe.ask(self._host, "gondolin", request, self._connected())
        return said


def enter_argv(sandbox: Sandbox, argv: Sequence[str], workdir: str, place: Place) -> list[str]:
    """What root starts on the host to run `argv` in a place of the sandbox; tools are in its micro-VM."""
    program = [*PROGRAM, "enter", sandbox.id]
    if place == "tools":
        return [*program, "agent", "/", "inside", workdir, *argv]
    return [*program, place, workdir, *argv]
