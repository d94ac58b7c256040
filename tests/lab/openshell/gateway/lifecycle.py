"""The life of a sandbox's container in the test double: made, begun, watched, stopped, started, removed.

Owns the order and the phases; must not know which call wanted it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from ..supervisor.link import ask
from . import containers
from .engine import EngineError
from .protocol import Refusal, m, precondition
from .state import Phase, State, log

POLL_SECONDS = 2.0
BEGIN_SECONDS = 30.0
RECONNECT_SECONDS = 3.0
STOP_SECONDS = 10
ALIVE = (Phase.SANDBOX_PHASE_PROVISIONING, Phase.SANDBOX_PHASE_READY, Phase.SANDBOX_PHASE_STARTING)
LOST = {
    "exited": ("ContainerExited", "Container exited"),
    "dead": ("ContainerDead", "Container is dead"),
    "paused": ("ContainerPaused", "Container is paused"),
}


class Lifecycle:
    """One gateway's containers."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.introduce: Callable[[str], Awaitable[None]]

    async def provision(self, id_: str) -> None:
        """From record to Ready, or to Error with a reason."""
        sandbox = self.state.sandbox_by_id(id_)
        try:
            image = await self.image(sandbox)
            await self.network()
            folder = self.state.supervisors.folder(id_)
            body = containers.body(self.state.config, sandbox, image, self.state.supervisor_binary, folder)
            made = await self.state.engine.call("POST", "/containers/create", {"name": containers.name(sandbox)}, body)
            if self.state.store.by_id(m.Sandbox, id_) is None:
                await self.discard(id_)
                return
            await self.state.engine.call("POST", f"/containers/{made['Id']}/start")
            self.state.event(id_, "Normal", "Started", "Started container")
            await self.begin(id_)
        except EngineError as error:
            self.failed(id_, "ContainerCreateFailed", f"create docker sandbox container failed: {error}")
        except Refusal as refusal:
            self.failed(id_, "ContainerCreateFailed", refusal.text)
        except Exception as error:
            self.failed(id_, "ContainerCreateFailed", f"{type(error).__name__}: {error}")
            raise

    async def network(self) -> str:
        """Have the network that all Docker gateways of a host share, and give its address on the host."""
        name = self.state.config.network
        try:
            found = await self.state.engine.call("GET", f"/networks/{name}")
        except EngineError as error:
            if error.status != 404:
                raise SystemExit(f"Error:   x {error}") from error
            # Another gateway may make it at the same moment.
            with contextlib.suppress(EngineError):
                await self.state.engine.call("POST", "/networks/create", None, {
                    "Name": name, "Driver": "bridge", "Attachable": True, "CheckDuplicate": True,
                    "Labels": {"openshell.ai/managed-by": "openshell", containers.DOUBLE: "network"}})
            found = await self.state.engine.call("GET", f"/networks/{name}")
        return str(found["IPAM"]["Config"][0]["Gateway"])

    async def image(self, sandbox: Any) -> dict[str, Any]:
        """The image by inspection, pulled where it is not here and the policy allows it."""
        name = sandbox.spec.template.image
        policy = str(self.state.config.docker.get("image_pull_policy") or "IfNotPresent").lower()
        with contextlib.suppress(EngineError):
            if policy != "always":
                return dict(await self.state.engine.call("GET", f"/images/{name}/json"))
        if policy == "never":
            raise precondition(f"docker image '{name}' is not present and image_pull_policy is Never")
        self.state.event(sandbox.metadata.id, "Normal", "Pulling", f"Pulling image \"{name}\"")
        try:
            await self.state.engine.pull(name)
            return dict(await self.state.engine.call("GET", f"/images/{name}/json"))
        except EngineError as error:
            self.failed(sandbox.metadata.id, "ImagePullFailed", f"pull docker image '{name}' failed: {error}")
            raise

    async def begin(self, id_: str) -> None:
        """Wait for the supervisor, give it its policy, and call the sandbox Ready."""
        end = asyncio.get_running_loop().time() + BEGIN_SECONDS
        while (sandbox := self.state.store.by_id(m.Sandbox, id_)) and sandbox.status.phase in ALIVE:
            try:
                await self.introduce(id_)
                self.state.background(self.follow(id_))
                self.state.turn(id_, Phase.SANDBOX_PHASE_READY, "True", "DependenciesReady",
                                "Supervisor session connected")
                return
            except (Refusal, EOFError, OSError):
                if asyncio.get_running_loop().time() > end or await self.look(id_):
                    return
                await asyncio.sleep(0.05)

    async def follow(self, id_: str) -> None:
        """Bring the sandbox's own log lines into the gateway's, as long as the supervisor speaks."""
        with contextlib.suppress(Refusal, EOFError, OSError):
            async with self.state.supervisors.asked(id_, "follow") as (reader, _):
                while line := await ask(reader):
                    self.state.line(id_, "sandbox", line["level"], "openshell_sandbox", line["text"])

    def failed(self, id_: str, reason: str, message: str) -> None:
        self.state.event(id_, "Warning", reason, message)
        self.state.turn(id_, Phase.SANDBOX_PHASE_ERROR, "False", reason, message)

    # What the engine says

    async def found(self, *more: str) -> dict[str, dict[str, Any]]:
        """This gateway's containers by sandbox id."""
        listed = await self.state.engine.call("GET", "/containers/json", containers.filters(self.state.config, *more))
        return {item["Labels"][f"{containers.LABEL}/sandbox-id"]: item for item in listed or []}

    async def look(self, id_: str) -> bool:
        """Whether the container has ended; its sandbox is then in Error, for good."""
        seen = (await self.found(f"{containers.LABEL}/sandbox-id={id_}")).get(id_)
        return self.judge(id_, seen["State"]) if seen else False

    def judge(self, id_: str, container_state: str) -> bool:
        if container_state not in LOST:
            return False
        reason, message = LOST[container_state]
        self.failed(id_, reason, message)
        return True

    async def watch(self) -> None:
        """Every 2 s: a container that ended or is paused means Error, one that is gone means a record less."""
        while True:
            before = {s.metadata.id for s in self.state.store.all(m.Sandbox) if s.status.phase == ALIVE[1]}
            try:
                seen = await self.found()
            except EngineError as error:
                log.warning("the engine does not answer: %s", error)
            else:
                for id_ in before if not self.state.stopping else ():
                    if (sandbox := self.state.store.by_id(m.Sandbox, id_)) and sandbox.status.phase == ALIVE[1]:
                        if id_ not in seen:
                            self.state.store.remove(sandbox)
                        else:
                            self.judge(id_, seen[id_]["State"])
            await asyncio.sleep(POLL_SECONDS)

    # What a caller wants

    async def stop(self, id_: str) -> None:
        """End the main process, then the container; what is in it stays."""
        with contextlib.suppress(Refusal, EOFError, OSError):
            await self.state.supervisors.tell(id_, "stop")
        seen = (await self.found(f"{containers.LABEL}/sandbox-id={id_}")).get(id_)
        if seen:
            await self.state.engine.call("POST", f"/containers/{seen['Id']}/stop", {"t": STOP_SECONDS})

    async def start(self, id_: str) -> None:
        seen = (await self.found(f"{containers.LABEL}/sandbox-id={id_}")).get(id_)
        if seen is None:
            self.failed(id_, "ContainerMissing", "Sandbox container is missing")
            return
        if seen["State"] in ("exited", "created"):
            await self.state.engine.call("POST", f"/containers/{seen['Id']}/start")
        await self.begin(id_)

    async def discard(self, id_: str) -> bool:
        """Remove the container and the folder; tells whether there was a container."""
        seen = (await self.found(f"{containers.LABEL}/sandbox-id={id_}")).get(id_)
        if seen:
            try:
                await self.state.engine.call("DELETE", f"/containers/{seen['Id']}", {"force": "true"})
            except EngineError as error:
                if error.status not in (404, 409):
                    raise
        folder = self.state.supervisors.root / id_
        for path in folder.glob("*"):
            path.unlink()
        if folder.is_dir():
            folder.rmdir()
        return bool(seen)

    # The gateway's own start and end

    async def resume(self) -> None:
        """At start: sandboxes that ran shall run. Those whose processes live need a moment to be reached again."""
        seen = await self.found()
        for sandbox in self.state.store.all(m.Sandbox):
            id_ = sandbox.metadata.id
            if sandbox.status.phase == Phase.SANDBOX_PHASE_DELETING:
                self.state.background(self.finish(id_))
            elif sandbox.status.phase in ALIVE:
                self.state.turn(id_, ALIVE[0], "False", "SupervisorNotConnected", "Supervisor session not connected")
                self.state.background(self.again(id_, seen.get(id_)))

    async def again(self, id_: str, container: dict[str, Any] | None) -> None:
        if container and container["State"] == "running":
            await asyncio.sleep(RECONNECT_SECONDS)
        await self.start(id_)

    async def finish(self, id_: str) -> None:
        await self.discard(id_)
        if sandbox := self.state.store.by_id(m.Sandbox, id_):
            self.state.store.remove(sandbox)

    async def halt(self) -> None:
        """At a graceful end: all running containers are stopped, 10 s each and all at once; phases stay as they are."""
        self.state.stopping = True
        running = [item["Id"] for item in (await self.found()).values() if item["State"] == "running"]
        stops = [self.state.engine.call("POST", f"/containers/{id_}/stop", {"t": STOP_SECONDS}) for id_ in running]
        await asyncio.gather(*stops, return_exceptions=True)
