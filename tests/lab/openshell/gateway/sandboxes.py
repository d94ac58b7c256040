"""Calls of the test double about sandboxes themselves: make, show, list, stop, start, delete, watch.

Owns checks and answers; must not know containers.
"""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from . import checks
from .containers import mounts
from .lifecycle import Lifecycle
from .protocol import exists, invalid, m, precondition
from .state import Phase, State

NAMES = ("amber", "brisk", "calm", "deft", "eager"), ("otter", "heron", "lynx", "finch", "maple")
PAGE = 1000


def page(items: list[Any], request: Any) -> list[Any]:
    return items[request.offset:][:min(request.limit or 100, PAGE)]


def matches(labels: Any, selector: str) -> bool:
    """Whether labels fit `k=v,k=v`; raises Refusal for another form."""
    for pair in filter(None, selector.split(",")):
        key, sign, value = pair.partition("=")
        if not sign:
            raise invalid(f"invalid label selector '{pair}': expected key=value")
        if labels.get(key.strip()) != value.strip():
            return False
    return True


class Sandboxes:
    """Mixed into the service."""

    state: State
    lifecycle: Lifecycle
    provider: Callable[[str, str], Any]
    first_policy: Callable[[Any], None]

    async def CreateSandbox(self, request: Any, context: Any) -> Any:
        if not request.HasField("spec"):
            raise invalid("spec is required")
        sandbox = m.Sandbox(spec=request.spec)
        if not sandbox.spec.command:
            sandbox.spec.command.extend(["/bin/bash", "-l"])
            sandbox.spec.tty = True
        checks.sandbox(request.name, sandbox.spec)
        checks.labels(request.labels)
        meta = sandbox.metadata
        meta.workspace = self.state.active(request.workspace)
        for provider in sandbox.spec.providers:
            self.provider(meta.workspace, provider)
        if not sandbox.spec.template.image:
            sandbox.spec.template.image = str(self.state.config.docker.get("default_image", ""))
        meta.id, meta.name = str(uuid.uuid4()), request.name or "-".join(map(secrets.choice, NAMES))
        meta.labels.update(request.labels)
        meta.annotations.update(request.annotations)
        if not self.state.config.tokens:
            raise precondition(
                "docker sandboxes require gateway JWT auth; configure [openshell.gateway.gateway_jwt]")
        mounts(self.state.config, sandbox, "")
        if self.state.store.named(m.Sandbox, meta.workspace, meta.name):
            raise exists(f"sandbox '{meta.name}' already exists")
        sandbox.status.phase = Phase.SANDBOX_PHASE_PROVISIONING
        sandbox.status.conditions.add(type="Ready", status="False", reason="Starting", message="Provisioning")
        self.first_policy(sandbox)
        self.state.store.add(sandbox, f"sandbox '{meta.name}'")
        self.state.background(self.lifecycle.provision(meta.id))
        return m.SandboxResponse(sandbox=sandbox)

    async def GetSandbox(self, request: Any, context: Any) -> Any:
        if not request.name:
            raise invalid("name is required")
        return m.SandboxResponse(sandbox=self.state.sandbox(request.workspace, request.name))

    async def ListSandboxes(self, request: Any, context: Any) -> Any:
        if request.all_workspaces and request.workspace:
            raise invalid("workspace must be empty when all_workspaces is true")
        where = None if request.all_workspaces else self.state.workspace(request.workspace)
        found = [one for one in self.state.store.all(m.Sandbox, where)
                 if matches(one.metadata.labels, request.label_selector)]
        return m.ListSandboxesResponse(sandboxes=page(found, request))

    async def StopSandbox(self, request: Any, context: Any) -> Any:
        async with self.settled(request, "Ready to stop") as sandbox:
            id_ = sandbox.metadata.id
            if sandbox.status.phase == Phase.SANDBOX_PHASE_READY:
                self.state.turn(id_, Phase.SANDBOX_PHASE_STOPPING, "False", "Stopping", "Sandbox is stopping")
                await self.lifecycle.stop(id_)
                self.state.turn(id_, Phase.SANDBOX_PHASE_STOPPED, "False", "ContainerExited", "Container exited")
        return m.SandboxResponse(sandbox=self.state.sandbox_by_id(id_))

    async def StartSandbox(self, request: Any, context: Any) -> Any:
        async with self.settled(request, "Stopped to start") as sandbox:
            id_ = sandbox.metadata.id
            if sandbox.status.phase == Phase.SANDBOX_PHASE_STOPPED:
                self.state.turn(id_, Phase.SANDBOX_PHASE_STARTING, "False", "Starting", "Sandbox is starting")
                await self.lifecycle.start(id_)
        return m.SandboxResponse(sandbox=self.state.sandbox_by_id(id_))

    @asynccontextmanager
    async def settled(self, request: Any, wanted: str) -> AsyncIterator[Any]:
        """A sandbox that is Ready or Stopped, until the end of the block for this caller alone. Raises Refusal."""
        id_ = self.state.sandbox(request.workspace, request.name).metadata.id
        async with self.state.locks[id_]:
            sandbox = self.state.sandbox_by_id(id_)
            if sandbox.status.phase not in (Phase.SANDBOX_PHASE_READY, Phase.SANDBOX_PHASE_STOPPED):
                raise precondition(f"sandbox must be {wanted} (current phase: {title(sandbox.status.phase)})")
            yield sandbox

    async def DeleteSandbox(self, request: Any, context: Any) -> Any:
        if not request.name:
            raise invalid("name is required")
        sandbox = self.state.sandbox(request.workspace, request.name)
        id_ = sandbox.metadata.id
        self.state.turn(id_, Phase.SANDBOX_PHASE_DELETING, "False", "Deleting", "Sandbox is being deleted")
        had = await self.lifecycle.discard(id_)
        self.forget(sandbox)
        return m.DeleteSandboxResponse(deleted=had)

    async def WatchSandbox(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """The sandbox as it is, then whatever of it is followed, until the caller goes."""
        if not request.id:
            raise invalid("id is required")
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.state.watchers[request.id].add(queue)
        try:
            sandbox = self.state.sandbox_by_id(request.id)
            yield m.SandboxStreamEvent(sandbox=sandbox)
            if request.follow_logs:
                for line in checks.lines(self.state.lines[request.id], request, request.log_tail_lines or 200):
                    yield m.SandboxStreamEvent(log=line)
            while not (request.stop_on_terminal and sandbox.status.phase == Phase.SANDBOX_PHASE_READY):
                event = await queue.get()
                kind = event.WhichOneof("payload")
                if kind == "sandbox" and request.follow_status:
                    sandbox = event.sandbox
                    yield event
                elif wanted(event, kind, request):
                    yield event
        finally:
            self.state.watchers[request.id].discard(queue)

    def forget(self, sandbox: Any) -> None:
        """Remove a sandbox's record and whatever belonged to it alone."""
        self.state.store.remove(sandbox)
        for session in self.state.store.all(m.SshSession, sandbox.metadata.workspace):
            if session.sandbox_id == sandbox.metadata.id:
                self.state.store.remove(session)
        self.state.lines.pop(sandbox.metadata.id, None)


def wanted(event: Any, kind: str, request: Any) -> bool:
    if kind == "log":
        return bool(request.follow_logs and list(checks.lines([event.log], request, 1)))
    return bool(kind == "event" and request.follow_events)


def title(phase: int) -> str:
    return str(Phase.Name(phase)).removeprefix("SANDBOX_PHASE_").title()
