"""What all parts of the test double's gateway share: configuration, store, engine, supervisors, watchers, log.

Owns nothing of its own but the publishing of changes; must not know any call.
"""

import asyncio
import logging
import os
import sys
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import containers
from .config import Config
from .engine import Engine
from .protocol import box, data, exists, m, missing, now, precondition
from .store import Store
from .supervisors import Supervisors

log = logging.getLogger("openshell_server")
KEPT_LINES = 2000
Phase = m.SandboxPhase


@dataclass
class State:
    config: Config
    store: Store
    engine: Engine
    supervisors: Supervisors
    supervisor_binary: Path
    stopping: bool = False
    watchers: dict[str, set["asyncio.Queue[Any]"]] = field(default_factory=lambda: defaultdict(set))
    lines: dict[str, deque[Any]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=KEPT_LINES)))
    locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    tasks: set["asyncio.Task[Any]"] = field(default_factory=set)

    def background(self, work: Any) -> None:
        """Run something that nobody waits for; what it raises is logged."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a task failed", exc_info=error)

    # Objects

    def workspace(self, name: str) -> str:
        """The name of a workspace that is there; the empty name means `default`. Raises Refusal."""
        name = name or "default"
        if self.store.named(data.Workspace, "", name) is None:
            raise missing(f"workspace '{name}' not found")
        return name

    def active(self, name: str) -> str:
        """The name of a workspace in which something may be made. Raises Refusal."""
        name = self.workspace(name)
        if self.store.named(data.Workspace, "", name).metadata.deletion_timestamp_ms:
            raise precondition(f"workspace '{name}' is being deleted")
        return name

    def sandbox(self, workspace: str, name: str) -> Any:
        found = self.store.named(m.Sandbox, self.workspace(workspace), name)
        if found is None:
            raise missing("sandbox not found")
        return found

    def sandbox_by_id(self, id_: str) -> Any:
        found = self.store.by_id(m.Sandbox, id_)
        if found is None:
            raise missing("sandbox not found")
        return found

    def ready(self, id_: str) -> Any:
        found = self.sandbox_by_id(id_)
        if found.status.phase != Phase.SANDBOX_PHASE_READY:
            raise precondition("sandbox is not ready")
        return found

    # What happens to sandboxes

    def turn(self, id_: str, phase: int, status: str, reason: str, message: str, code: int | None = None) -> Any | None:
        """Put a sandbox into a phase and tell whoever watches; gives None where it is gone. Error is final."""
        sandbox = self.store.by_id(m.Sandbox, id_)
        final = (Phase.SANDBOX_PHASE_ERROR, Phase.SANDBOX_PHASE_DELETING)
        if sandbox is None or (sandbox.status.phase in final and phase != Phase.SANDBOX_PHASE_DELETING):
            return sandbox
        del sandbox.status.conditions[:]
        sandbox.status.conditions.add(type="Ready", status=status, reason=reason, message=message)
        sandbox.status.sandbox_name = containers.name(sandbox)
        sandbox.status.phase = phase
        if code is not None:
            sandbox.status.exit_code = code
        log.info("Sandbox phase changed sandbox_id=%s sandbox_name=%s new_phase=%s reason=%s", id_,
                 sandbox.metadata.name, Phase.Name(phase), reason)
        return self.changed(sandbox)

    def changed(self, sandbox: Any) -> Any:
        self.publish(sandbox.metadata.id, m.SandboxStreamEvent(sandbox=self.store.save(sandbox)))
        return sandbox

    def event(self, id_: str, type_: str, reason: str, message: str, **metadata: str) -> None:
        self.publish(id_, m.SandboxStreamEvent(event=m.PlatformEvent(
            timestamp_ms=now(), source="docker", type=type_, reason=reason, message=message, metadata=metadata)))

    def line(self, id_: str, source: str, level: str, target: str, message: str) -> None:
        """One line of a sandbox's own log."""
        line = m.SandboxLogLine(sandbox_id=id_, timestamp_ms=now(), level=level, target=target, message=message,
                                source=source)
        self.lines[id_].append(line)
        self.publish(id_, m.SandboxStreamEvent(log=line))

    def publish(self, id_: str, event: Any) -> None:
        for queue in self.watchers[id_]:
            queue.put_nowait(event)


def named(sandbox: Any) -> Any:
    """Why the name of a sandbox that is being made is taken."""
    return exists(f"sandbox '{sandbox.metadata.name}' already exists")


def default_policy() -> Any:
    """What holds where neither the request nor the image brings a policy."""
    policy = box.SandboxPolicy(version=1)
    policy.filesystem.include_workdir = True
    policy.filesystem.read_only.extend(["/usr", "/lib", "/proc", "/dev/urandom", "/app", "/etc", "/var/log"])
    policy.filesystem.read_write.extend(["/tmp", "/dev/null"])
    policy.landlock.compatibility = "best_effort"
    return policy


def supervisor_binary(config: Config) -> Path:
    """The supervisor's file: named in gateway.toml, else beside the gateway's own; raises SystemExit without one."""
    named_ = config.docker.get("supervisor_bin")
    own = os.environ.get("OPENSHELL_DOUBLE_SELF") or sys.argv[0]
    path = Path(named_) if named_ else Path(own).resolve().parent / "openshell-sandbox"
    if not path.is_file():
        raise SystemExit(f"Error:   x openshell-sandbox was not found at {path}: set supervisor_bin")
    return path.resolve()
