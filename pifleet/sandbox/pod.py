"""Owns operating sandboxes that are pods of a cluster, through its API server.
It must not make or change what a sandbox is: all that it sets is whether the pod is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from pifleet.errors import SandboxFailed
from pifleet.fleet import Host, Sandbox
from pifleet.kube import terminal
from pifleet.kube.client import MANAGER, MERGE, Api, ApiRefused, Json, path
from pifleet.kube.exec import Exec, Pod, start
from pifleet.kube.pods import state_of, trouble_of, waits_for
from pifleet.lock import leased
from pifleet.sandbox import WORKSPACE, Place
from pifleet.secret import Secret
from pifleet.stream import Stream

Begin = Callable[[], Exec]
CONTAINER = "pi"
# What a pod may take to be made on a node that has its image, and to end: its grace and what the kubelet needs.
SECONDS_TO_START = 120.0
SECONDS_TO_STOP = 90.0
LOOK_SECONDS = 0.5


class PodDriver:
    """A Driver for pods; see pifleet.sandbox.Driver."""

    keeps_work = True  # its workspace is a volume of the cluster

    def __init__(self, host: Host) -> None:
        assert host.cluster
        self._host, self._cluster = host, host.cluster
        self._api = Api(host)

    @staticmethod
    def seen(found: Mapping[str, Any]) -> tuple[str, str | None]:
        return str(found["state"]), found.get("image")

    def stream(
        self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE, place: Place = "tools"
    ) -> Stream:
        return self._started(sandbox, argv, workdir)

    def claimed(self, sandbox: Sandbox, argv: Sequence[str], what: str, store: Path) -> Stream:
        return _Claimed(self._api, sandbox, what, store, lambda: self._started(sandbox, argv, WORKSPACE))

    def terminal_argv(
        self, sandbox: Sandbox, argv: Sequence[str], workdir: str = WORKSPACE, *, tty: bool = True
    ) -> list[str]:
        # tmux and pi draw with what xterm-256color can do, and a pod has no word for its terminal.
        inside = ["env", "TERM=xterm-256color", *argv] if tty else argv
        return terminal.argv_for(self._host, self._pod(sandbox), inside, workdir, terminal=tty)

    def attach_argv(self, sandbox: Sandbox) -> list[str]:
        return self.terminal_argv(sandbox, ["tmux", "-u", "new-session", "-A", "-s", "pi", "--", "pi"])

    def state(self, sandbox: Sandbox) -> str:
        return state_of(self._owner(sandbox), self._found(sandbox))

    def require_running(self, sandbox: Sandbox) -> None:
        state = self.state(sandbox)
        if state == "running":
            return
        again = f"pifleet start {sandbox.title}" if state == "stopped" else "pifleet provision"
        raise SandboxFailed(f"{sandbox.title} on {self._host.name} is {state}", saw=self._why(sandbox), try_=again)

    def start(self, sandbox: Sandbox) -> None:
        if self.state(sandbox) == "running":
            return
        self._scale(sandbox, 1, "start")
        deadline = time.monotonic() + SECONDS_TO_START
        while (state := self.state(sandbox)) != "running":
            if state == "error" or time.monotonic() > deadline:
                raise self._did_not(sandbox, "start", self._why(sandbox))
            time.sleep(LOOK_SECONDS)

    def open_again(self, sandbox: Sandbox) -> None:
        self.start(sandbox)

    def stop(self, sandbox: Sandbox) -> None:
        if not self._owner(sandbox):
            raise self._did_not(sandbox, "stop", "there is no such StatefulSet")
        with leased(self._api, sandbox, "stop"):
            self._scale(sandbox, 0, "stop")
            deadline = time.monotonic() + SECONDS_TO_STOP
            while self._found(sandbox):
                if time.monotonic() > deadline:
                    raise self._did_not(sandbox, "stop", f"its pod is still there after {SECONDS_TO_STOP:g} s")
                time.sleep(LOOK_SECONDS)

    def outside(self, sandbox: Sandbox, keys: Sequence[Secret] = ()) -> Mapping[str, Any]:
        """`api`, the address at which pods would find the API server; what is in a pod only the pod itself can say."""
        try:
            service = self._api.get(path("v1", "services", "default", "kubernetes"))
        except ApiRefused as error:
            if error.unreachable:
                raise
            service = None
        return {"api": service["spec"]["clusterIP"]} if service else {}

    def close(self) -> None:
        self._api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self, sandbox: Sandbox, argv: Sequence[str], workdir: str) -> Exec:
        try:
            return start(self._api, self._pod(sandbox), argv, workdir)
        except ApiRefused as error:
            if error.unreachable or error.code == 403:
                raise
            raise SandboxFailed(f"{sandbox.title} on {self._host.name} cannot be reached", saw=error.trouble.saw,
                                try_=f"pifleet status {sandbox.title}") from None

    def _pod(self, sandbox: Sandbox) -> Pod:
        return Pod(self._cluster.namespace_of(sandbox.developer), sandbox.pod, CONTAINER)

    def _found(self, sandbox: Sandbox) -> Json | None:
        return self._api.get(path("v1", "pods", self._pod(sandbox).namespace, sandbox.pod))

    def _owner(self, sandbox: Sandbox) -> Json | None:
        return self._api.get(self._owner_path(sandbox))

    def _owner_path(self, sandbox: Sandbox, *rest: str) -> str:
        namespace = self._cluster.namespace_of(sandbox.developer)
        return path("apps/v1", "statefulsets", namespace, sandbox.container, *rest)

    def _scale(self, sandbox: Sandbox, replicas: int, verb: str) -> None:
        try:
            self._api.request("PATCH", self._owner_path(sandbox, "scale"), {"spec": {"replicas": replicas}},
                              query={"fieldManager": MANAGER}, content=MERGE)
        except ApiRefused as error:
            if error.unreachable or error.code == 403:
                raise
            raise self._did_not(sandbox, verb, error.trouble.saw) from None

    def _why(self, sandbox: Sandbox) -> str:
        found = self._found(sandbox)
        return (trouble_of(found) if found else "") or waits_for(found)

    def _did_not(self, sandbox: Sandbox, verb: str, saw: str) -> SandboxFailed:
        return SandboxFailed(f"{sandbox.title} on {self._host.name} did not {verb}", saw=saw,
                             try_=f"pifleet plan --limit {self._host.name}")


class _Claimed:
    """The stream of a program that runs while nobody else moves the sandbox's work; it ends when that is lost."""

    def __init__(self, api: Api, sandbox: Sandbox, what: str, store: Path, begin: Begin) -> None:
        self._stream: Exec | None = None
        with ExitStack() as held:
            held.enter_context(leased(api, sandbox, what, store, on_loss=self._lost))
            self._stream = stream = begin()
            self._held = held.pop_all()
        self.send, self.end, self.read, self.wait, self.stderr = (
            stream.send, stream.end, stream.read, stream.wait, stream.stderr)

    def close(self) -> None:
        self._lost()
        self._held.close()

    def _lost(self) -> None:
        if self._stream:
            self._stream.close()
