"""Owns operating sandboxes that are containers of a host's Docker engine, through the docker command there.
It must not make or change a container, and never hands a shell anything that is not a whole argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pifleet import observe
from pifleet.connection import Done
from pifleet.desired import egress, gateway
from pifleet.errors import SandboxFailed
from pifleet.fleet import Sandbox
from pifleet.lock import claimed, run_claimed
from pifleet.sandbox import WORKSPACE, Place
from pifleet.sandbox.linked import Linked
from pifleet.secret import Secret
from pifleet.stream import Stream

SECONDS_TO_END = 15
ENGINE_SECONDS = 60
# The engine's words (Docker Engine API, "Inspect a container", State.Status) in ours.
STATES = {"running": "running", "restarting": "starting", "created": "stopped", "exited": "stopped",
          "paused": "stopped", "removing": "error", "dead": "error"}


class DockerDriver(Linked):
    """A Driver for containers; see pifleet.sandbox.Driver."""

    keeps_work = True  # its workspace is a folder of the host

    @staticmethod
    def seen(found: Mapping[str, Any]) -> tuple[str, str | None]:
        return STATES.get(str(found["state"]), "unknown"), found["spec"]["image"]

    def stream(
        self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE, place: Place = "tools"
    ) -> Stream:
        return self._connected().stream(exec_argv(sandbox, argv, workdir, ["--interactive"]))

    def claimed(self, sandbox: Sandbox, argv: Sequence[str], what: str, store: Path) -> Stream:
        inside = exec_argv(sandbox, argv, WORKSPACE, ["--interactive"])
        return claimed(self._connected(), sandbox, inside, what, store)

    def terminal_argv(
        self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE, *, tty: bool = True
    ) -> list[str]:
        # tmux and pi draw with what xterm-256color can do; docker would say plain xterm.
        terminal = ["--tty", "--env", "TERM=xterm-256color"] if tty else []
        inside = exec_argv(sandbox, argv, workdir, ["--interactive", *terminal])
        return self._at_terminal(inside, tty=tty)

    def attach_argv(self, sandbox: Sandbox) -> list[str]:
        return self.terminal_argv(sandbox, ["tmux", "-u", "new-session", "-A", "-s", "pi", "--", "pi"])

    def state(self, sandbox: Sandbox) -> str:
        done = self._docker("inspect", "--type", "container", "--format", "{{.State.Status}}", sandbox.container)
        if done.code == 0:
            return STATES.get(done.stdout.decode(errors="replace").strip(), "unknown")
        return "missing" if b"No such container" in done.stderr else "unknown"

    def require_running(self, sandbox: Sandbox) -> None:
        state = self.state(sandbox)
        if state == "running":
            return
        again = "pifleet provision" if state == "missing" else f"pifleet start {sandbox.title}"
        raise SandboxFailed(f"{sandbox.title} on {self._host.name} is {state}", try_=again)

    def start(self, sandbox: Sandbox) -> None:
        self._done(sandbox, "start", self._docker("start", sandbox.container))

    def open_again(self, sandbox: Sandbox) -> None:
        self.start(sandbox)

    def stop(self, sandbox: Sandbox) -> None:
        argv = ["docker", "stop", "--time", str(SECONDS_TO_END), "--", sandbox.container]
        self._done(sandbox, "stop", run_claimed(self._connected(), sandbox, argv, "stop", ENGINE_SECONDS))

    def outside(self, sandbox: Sandbox, keys: Sequence[Secret] = ()) -> Mapping[str, Any]:
        request = {"keys": [gateway.keys(), egress.keys()], "container": sandbox.container, "root": str(sandbox.root),
                   "clients": sandbox.egress_sets}
        said = observe.ask(self._host, "outside", request, self._connected())
        return said if isinstance(said, dict) else {}

    def _done(self, sandbox: Sandbox, verb: str, done: Done) -> None:
        if done.code:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise self._did_not(sandbox, verb, said[0] if said else "")

    def _docker(self, *words: str) -> Done:
        *options, name = words
        return self._connected().run(["docker", *options, "--", name], timeout=ENGINE_SECONDS)


def exec_argv(sandbox: Sandbox, argv: Sequence[str], workdir: str, options: Sequence[str]) -> list[str]:
    """The docker command for `argv` inside; user, home and environment are the container's own."""
    return ["docker", "exec", *options, "--workdir", workdir, "--", sandbox.container, *argv]
