"""Owns operating sandboxes of an OpenShell gateway, through the openshell command and ssh on the gateway's host.
It must not make or change a sandbox, and never hands a shell anything that is not a whole argument."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pifleet import observe
from pifleet.connection import Done
from pifleet.desired import clients
from pifleet.errors import HostFailed, SandboxFailed
from pifleet.fleet import Host, Sandbox
from pifleet.lock import claimed, run_claimed
from pifleet.patterns.openshell.client import client_of
from pifleet.sandbox import WORKSPACE, Place
from pifleet.sandbox.linked import Linked
from pifleet.sandbox.openshell_copy import LABEL, Copy
from pifleet.secret import Secret
from pifleet.stream import Stream

SECONDS = 60
# What a sandbox of this pattern can write to.
INSIDE = ("workspace", "home/pi", "tmp", "dev/shm", "run/lock")
# What was started inside goes on when its connection ends. So what is ours ends itself, when no pull can be at it any
# more: a day is the longest that an inventory may give one (seconds).
ENDS = ("timeout", "--kill-after=10", "90000")
# A gateway's words (`sandbox get`, phase) in ours. Error is final there: nothing brings such a sandbox back.
STATES = {"Ready": "running", "Provisioning": "starting", "Starting": "starting", "Stopped": "stopped",
          "Stopping": "stopped", "Error": "error", "Deleting": "error"}
# Its home is the workspace there, and pi's sessions do not belong into that.
ENVIRONMENT = ("env", "HOME=/home/pi", "PI_CODING_AGENT_DIR=/home/pi/.pi/agent", "LANG=C.UTF-8",
               *(f"{name}={value}" for name, value in clients.ENVIRONMENT.items()))
# A gateway takes 20 ssh connections to a sandbox; through one master all of ours are one.
SHARED = ("-o", "ControlMaster=auto", "-o", "ControlPersist=60")


class OpenShellDriver(Linked):
    """A Driver for OpenShell's sandboxes; see pifleet.sandbox.Driver."""

    keeps_work = False  # its workspace is in its container

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._client = client_of(host)
        self._ssh: dict[str, list[str]] = {}
        self._copies: dict[str, Copy] = {}

    @staticmethod
    def seen(found: Mapping[str, Any]) -> tuple[str, str | None]:
        return STATES.get(str(found["phase"]), "unknown"), found.get("image")

    def stream(
        self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE, place: Place = "tools"
    ) -> Stream:
        return self._connected().stream(self._argv(sandbox, argv, workdir))

    def claimed(self, sandbox: Sandbox, argv: Sequence[str], what: str, store: Path) -> Stream:
        return claimed(self._connected(), sandbox, self._argv(sandbox, argv, WORKSPACE), what, store)

    def terminal_argv(
        self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE, *, tty: bool = True
    ) -> list[str]:
        inside = self._inside(sandbox, argv, workdir, "-tt" if tty else "-T")
        return self._at_terminal(inside, tty=tty)

    def attach_argv(self, sandbox: Sandbox) -> list[str]:
        return self.terminal_argv(sandbox, ["tmux", "-u", "new-session", "-A", "-s", "pi", "--", "pi"])

    def state(self, sandbox: Sandbox) -> str:
        found = self._listed(sandbox)
        return STATES.get(str(found.get("phase")), "unknown") if found else "missing"

    def require_running(self, sandbox: Sandbox) -> None:
        state = self.state(sandbox)
        if state == "running" or sandbox.title in self._copies:
            return
        again = f"pifleet start {sandbox.title}" if state == "stopped" else "pifleet provision"
        raise SandboxFailed(f"{sandbox.title} on {self._host.name} is {state}", try_=again)

    def start(self, sandbox: Sandbox) -> None:
        if self.state(sandbox) != "running":
            started = self._command("sandbox", "start", "--workspace", sandbox.workspace, "--", sandbox.id)
            self._done(sandbox, "start", started)

    def open_again(self, sandbox: Sandbox) -> None:
        found = self._listed(sandbox)
        if self._host.gateway and (not found or found.get("phase") == "Error"):
            raise SandboxFailed(
                f"{sandbox.title} is {'in phase Error' if found else 'gone'}, and what is in it cannot be reached",
                saw=f"others run the gateway of {self._host.name}, and only on their machine is its container",
                try_="ask them for a copy of /workspace",
            )
        if not found or found.get("phase") == "Error":  # a gateway that lost its records forgets what still is there
            self._copies[sandbox.title] = Copy.of(self._connected(), sandbox, str(found["id"]) if found else "")
        else:
            self.start(sandbox)

    def stop(self, sandbox: Sandbox) -> None:
        argv = self._client.command("sandbox", "stop", "--workspace", sandbox.workspace, "--", sandbox.id)
        self._done(sandbox, "stop", run_claimed(self._connected(), sandbox, argv, "stop", SECONDS))

    def outside(self, sandbox: Sandbox, keys: Sequence[Secret] = ()) -> Mapping[str, Any]:
        """A gateway has the keys in its database, sealed; so those that are given are looked for, as root of its host.
        Where others run it nobody here is that."""
        if self._host.gateway or not keys:
            return {}
        labels = {f"{LABEL}id": self._id(sandbox)}
        request = {"keys": [], "words": [key.reveal() for key in keys], "labels": labels, "root": str(sandbox.root),
                   "inside": INSIDE, "clients": []}
        said = observe.ask(self._host, "outside", request, self._connected())
        return {"keys": said.get("keys")} if isinstance(said, dict) else {}

    def close(self) -> None:
        for copy in self._copies.values():
            copy.remove(self._connected())
        self._copies.clear()
        super().close()

    def _done(self, sandbox: Sandbox, verb: str, done: Done) -> None:
        if done.code:
            raise self._did_not(sandbox, verb, _said(done))

    def _listed(self, sandbox: Sandbox) -> dict[str, Any] | None:
        """The sandbox as its gateway lists it. Raises HostFailed when the gateway does not answer."""
        # Of all workspaces: one that a gateway has forgotten would be an error, and its sandboxes are just not there.
        done = self._command("sandbox", "list", "--all-workspaces", "--limit", "1000", "-o", "json")
        try:
            if done.code:
                raise ValueError
            found = [one for one in json.loads(done.stdout or b"[]")
                     if (one["workspace"], one["name"]) == (sandbox.workspace, sandbox.id)]
        except (ValueError, TypeError, KeyError):
            raise HostFailed(f"{self._host.name}: its OpenShell gateway does not answer", saw=_said(done),
                             try_=f"pifleet plan --limit {self._host.name}") from None
        return dict(found[0]) if found else None

    def _id(self, sandbox: Sandbox) -> str:
        """What its gateway calls it. Raises SandboxFailed where there is none."""
        found = self._listed(sandbox)
        if not found:
            raise SandboxFailed(f"{sandbox.title} on {self._host.name} is missing", try_="pifleet provision")
        return str(found["id"])

    def _argv(self, sandbox: Sandbox, argv: Sequence[str], workdir: str) -> list[str]:
        """What root starts on the host to run `argv` where `stream` reaches."""
        copy = self._copies.get(sandbox.title)
        return copy.argv(argv, workdir) if copy else self._inside(sandbox, [*ENDS, *argv], workdir, "-T")

    def _inside(self, sandbox: Sandbox, argv: Sequence[str], workdir: str, terminal: str) -> list[str]:
        """What root starts on the host to run `argv` inside: the stanza that the command prints, as ssh's options."""
        if sandbox.title not in self._ssh:
            done = self._command("sandbox", "ssh-config", "--workspace", sandbox.workspace, "--", sandbox.id)
            pairs = [line.strip().split(None, 1) for line in done.stdout.decode().splitlines() if line.strip()]
            named = dict(pair for pair in pairs if len(pair) == 2)
            if done.code or "ProxyCommand" not in named:
                raise SandboxFailed(f"{sandbox.title} on {self._host.name} cannot be reached", saw=_said(done),
                                    try_=f"pifleet status {sandbox.title}")
            alias = named.pop("Host")
            # Of its own for each sandbox: one that was made anew under its name is not behind the old one's master.
            named["ControlPath"] = f"{self._client.folder}/{self._id(sandbox)[:8]}"
            options = [word for key, value in named.items() for word in ("-o", f"{key}={value}")]
            self._ssh[sandbox.title] = [*options, *SHARED, "--", alias]
        remote = shlex.join([*ENVIRONMENT, f"--chdir={workdir}", *argv])
        ssh = ("ssh", "-F", "none", terminal, "-o", "BatchMode=yes")
        return self._client.argv(*ssh, *self._ssh[sandbox.title], remote)

    def _command(self, *words: str) -> Done:
        return self._connected().run(self._client.command(*words), timeout=SECONDS)


def _said(done: Done) -> str:
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    return lines[0][:300] if lines else f"exit code {done.code}"
