"""The test double's inference routes: one provider and one model for each workspace, behind `inference.local`.

Owns verification and what a sandbox's proxy is told; must not know how requests are passed on.
"""

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

from .protocol import VERSION, Refusal, data, grpc_inference, inf, invalid, missing, precondition
from .providers import Providers
from .state import State

OPENAI = ("openai_chat_completions", "openai_completions", "openai_responses", "openai_embeddings")
KINDS: dict[str, dict[str, Any]] = {
    "openai": {"protocols": OPENAI, "key": "OPENAI_API_KEY", "base": "OPENAI_BASE_URL", "header": "authorization",
               "default": "https://api.openai.com/v1"},
    "anthropic": {"protocols": ("anthropic_messages",), "key": "ANTHROPIC_API_KEY", "base": "ANTHROPIC_BASE_URL",
                  "header": "x-api-key", "default": "https://api.anthropic.com/v1"},
}
PROBES = {
    "openai_chat_completions": ("/v1/chat/completions", {"max_completion_tokens": 32}),
    "anthropic_messages": ("/v1/messages", {"max_tokens": 32}),
}
SUPPORTED = "openai, anthropic, nvidia, deepinfra, google-vertex-ai, aws-bedrock"
LOCAL, SYSTEM = "inference.local", "sandbox-system"
PROBE_SECONDS = 30


class Inference(grpc_inference.InferenceServicer):  # type: ignore[misc]
    """`openshell.inference.v1.Inference`."""

    def __init__(self, state: State, providers: Providers) -> None:
        self.state, self.providers = state, providers

    async def SetInferenceRoute(self, request: Any, context: Any) -> Any:
        workspace = self.state.active(request.workspace)
        name = route_name(request.route_name)
        if not request.provider_name.strip():
            raise invalid("provider_name is required")
        if not request.model_id.strip():
            raise invalid("model_id is required")
        provider = self.state.store.named(data.Provider, workspace, request.provider_name)
        if provider is None:
            raise precondition(f"provider '{request.provider_name}' not found in workspace '{workspace}'")
        resolved = self.resolve(provider, request.model_id)
        checked = [] if request.no_verify else [await verify(provider.metadata.name, resolved)]
        route = self.state.store.named(inf.InferenceRoute, workspace, name)
        config = inf.InferenceRouteConfig(provider_name=request.provider_name, model_id=request.model_id,
                                          timeout_secs=request.timeout_secs)
        if route is None:
            meta = data.ObjectMeta(name=name, workspace=workspace)
            route = self.state.store.add(inf.InferenceRoute(metadata=meta, config=config, version=1), "route")
        else:
            route.config.CopyFrom(config)
            route.version += 1
            self.state.store.save(route)
        return inf.SetInferenceRouteResponse(
            provider_name=config.provider_name, model_id=config.model_id, version=route.version, route_name=name,
            validation_performed=bool(checked), validated_endpoints=checked, timeout_secs=config.timeout_secs,
            workspace=workspace)

    async def GetInferenceRoute(self, request: Any, context: Any) -> Any:
        workspace, name = self.state.workspace(request.workspace), route_name(request.route_name)
        route = self.state.store.named(inf.InferenceRoute, workspace, name)
        if route is None:
            raise missing(f"inference route '{name}' is not configured in workspace '{workspace}'; run 'openshell "
                          "inference set --provider <name> --model <id>'")
        return inf.GetInferenceRouteResponse(
            provider_name=route.config.provider_name, model_id=route.config.model_id, version=route.version,
            route_name=name, timeout_secs=route.config.timeout_secs, workspace=workspace)

    async def DeleteInferenceRoute(self, request: Any, context: Any) -> Any:
        workspace, name = self.state.workspace(request.workspace), route_name(request.route_name)
        route = self.state.store.named(inf.InferenceRoute, workspace, name)
        return inf.DeleteInferenceRouteResponse(deleted=bool(route) and self.state.store.remove(route))

    def resolve(self, provider: Any, model: str) -> dict[str, Any]:
        """What the proxy needs; raises Refusal for a provider that cannot serve models."""
        kind = KINDS.get(provider.type.strip().lower())
        name = provider.metadata.name
        if kind is None:
            raise invalid(f"provider '{name}' has unsupported type '{provider.type}' for cluster inference (supported: "
                          f"{SUPPORTED})")
        secrets = self.providers.secrets(provider)
        key = secrets.get(kind["key"]) or next(iter(secrets.values()), "")
        if not key:
            raise invalid(f"provider '{name}' has no usable API key credential")
        return {"base": provider.config.get(kind["base"]) or kind["default"], "protocols": list(kind["protocols"]),
                "header": kind["header"], "key": key, "model": model}

    def route(self, workspace: str) -> dict[str, Any] | None:
        """The workspace's route as its sandboxes' proxies need it; None where there is none that works."""
        route = self.state.store.named(inf.InferenceRoute, workspace, LOCAL)
        provider = route and self.state.store.named(data.Provider, workspace, route.config.provider_name)
        try:
            made = provider and self.resolve(provider, route.config.model_id)
        except Refusal:
            return None
        return {**made, "seconds": route.config.timeout_secs or 60} if made else None


def route_name(name: str) -> str:
    if name.strip() not in ("", LOCAL, SYSTEM):
        raise invalid(f"unknown route_name '{name}'; expected 'inference.local' or 'sandbox-system'")
    return name.strip() or LOCAL


def url(base: str, path: str) -> str:
    """A request's address; a base that ends in /v1 is not given another."""
    base = base.rstrip("/")
    return base + (path.removeprefix("/v1") if base.endswith("/v1") else path)


async def verify(name: str, route: dict[str, Any]) -> Any:
    """Ask the model one thing, from this host; raises Refusal with what came of it."""
    protocol = next(one for one in route["protocols"] if one in PROBES)
    path, body = PROBES[protocol]
    words = {**body, "model": route["model"], "messages": [{"role": "user", "content": "ping"}]}
    key = f"Bearer {route['key']}" if route["header"] == "authorization" else route["key"]
    headers = {"content-type": "application/json", route["header"]: key, "user-agent": f"openshell/{VERSION}"}
    if protocol == "anthropic_messages":
        headers["anthropic-version"] = "2023-06-01"
    target = url(route["base"], path)
    try:
        request = urllib.request.Request(target, json.dumps(words).encode(), headers)
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=PROBE_SECONDS).read())
    except urllib.error.HTTPError as error:
        steps = "verify the provider API key and any required auth headers" if error.code in (401, 403) else \
            "confirm the provider type, base URL, and model identifier"
        raise failed(name, route, f"upstream returned HTTP {error.code}", steps) from error
    except (OSError, ValueError) as error:
        raise failed(name, route, f"failed to connect: {error}", "check that the service is running, confirm the base "
                     "URL and protocol, and verify credentials") from error
    return inf.ValidatedEndpoint(url=target, protocol=protocol)


def failed(name: str, route: dict[str, Any], details: str, steps: str) -> Refusal:
    return precondition(
        f"failed to verify inference endpoint for provider '{name}' and model '{route['model']}' at "
        f"'{route['base']}': {details}. Next steps: {steps}, or retry with '--no-verify' if you want to skip "
        "verification")
