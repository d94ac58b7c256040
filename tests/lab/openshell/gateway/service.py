"""The test double's service, put together from its parts, and the one place where refusals become gRPC statuses.

Owns health, identity and what is not imitated; must not know how any part works.
"""

import functools
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc

from . import health
from .execs import Execs
from .forward import Forwards
from .lifecycle import Lifecycle
from .policies import Policies, check_policy
from .profiles import Profiles
from .protocol import MESSAGE_BYTES, VERSION, Refusal, box, grpc_openshell, m
from .providers import Providers
from .sandboxes import Sandboxes
from .state import State, log
from .vault import Vault
from .workspaces import Workspaces


class Service(Providers, Profiles, Sandboxes, Execs, Forwards, Workspaces, Policies,
              grpc_openshell.OpenShellServicer):  # type: ignore[misc]
    """`openshell.v1.OpenShell`. Calls that no part has answer UNIMPLEMENTED, as the generated base does."""

    def __init__(self, state: State, lifecycle: Lifecycle, vault: Vault) -> None:
        self.state, self.lifecycle, self.vault = state, lifecycle, vault
        self.by_token, self.by_sandbox = Counter(), Counter()

    def first_policy(self, sandbox: Any) -> None:
        """A policy that comes with a sandbox is its first revision."""
        if sandbox.spec.HasField("policy"):
            check_policy(sandbox.spec.policy)
            self.revise(sandbox.metadata.id, sandbox.spec.policy, m.POLICY_STATUS_PENDING)

    def provider_rules(self, workspace: str, name: str) -> list[Any]:
        """The network rule that a provider's profile brings."""
        stored = self.state.store.named(m.StoredProviderProfile, workspace, self.provider(workspace, name).type)
        if stored is None:
            return []
        return [box.NetworkPolicyRule(name=name, endpoints=stored.profile.endpoints,
                                      binaries=stored.profile.binaries)]

    async def Health(self, request: Any, context: Any) -> Any:
        return m.HealthResponse(status=m.SERVICE_STATUS_HEALTHY, version=VERSION)

    async def GetGatewayInfo(self, request: Any, context: Any) -> Any:
        capabilities = m.ComputeDriverCapabilities(driver_name="docker", driver_version=VERSION)
        return m.GetGatewayInfoResponse(
            status=m.SERVICE_STATUS_HEALTHY, gateway_version=VERSION,
            compute_drivers=[m.ComputeDriverInfo(name="docker", capabilities=capabilities)])

    async def GetCurrentUser(self, request: Any, context: Any) -> Any:
        names = context.auth_context().get("x509_common_name", [])
        subject = names[0].decode() if names else "unauthenticated-local-dev"
        return m.GetCurrentUserResponse(subject=subject, display_name=subject, roles=["openshell-admin"],
                                        identity_provider="mtls" if names else "local-dev")


def answering(service: Any) -> Any:
    """The same service, with each of its own calls ending in a status instead of an exception."""
    for name, call in inspect.getmembers(service, inspect.ismethod):
        if name[0] in "_abcdefghijklmnopqrstuvwxyz":
            continue
        if inspect.isasyncgenfunction(call):
            setattr(service, name, streaming(call))
        elif inspect.iscoroutinefunction(call):
            setattr(service, name, unary(call))
    return service


async def refuse(context: Any, method: str, error: Exception) -> None:
    refusal = error if isinstance(error, Refusal) else Refusal(grpc.StatusCode.INTERNAL, str(error))
    if refusal is not error:
        log.error("a call failed", exc_info=error)
    health.CALLS[method, str(refusal.code.value[0])] += 1
    await context.abort(refusal.code, refusal.text)


def check_size(request: Any) -> None:
    """Refuse a message over 1 MiB as the real gateway's library does; a stream's messages are its own matter."""
    size = request.ByteSize() if hasattr(request, "ByteSize") else 0
    if size > MESSAGE_BYTES:
        raise Refusal(grpc.StatusCode.OUT_OF_RANGE, f"Error, decoded message length too large: found {size} bytes, "
                      f"the limit is: {MESSAGE_BYTES} bytes")


def unary(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    async def answered(request: Any, context: Any) -> Any:
        try:
            check_size(request)
            answer = await call(request, context)
        except Exception as error:
            return await refuse(context, call.__name__, error)
        health.CALLS[call.__name__, "0"] += 1
        return answer
    return answered


def streaming(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    async def answered(request: Any, context: Any) -> Any:
        try:
            check_size(request)
            async for message in call(request, context):
                yield message
            health.CALLS[call.__name__, "0"] += 1
        except Exception as error:
            await refuse(context, call.__name__, error)
    return answered
