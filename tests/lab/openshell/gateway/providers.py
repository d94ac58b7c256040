"""The test double's providers: credentials that no call gives out again, and what sandboxes see in their place.

Owns sealing and placeholders; must not know what a credential opens.
"""

import hashlib
from typing import Any

from . import checks
from .protocol import data, exists, invalid, m, missing, precondition
from .sandboxes import page
from .state import State
from .vault import DRIVER, Vault

CREDENTIALS, CONFIG, TYPE = 32, 64, 64
HIDDEN = "REDACTED"


class Providers:
    """Mixed into the service."""

    state: State
    vault: Vault

    async def CreateProvider(self, request: Any, context: Any) -> Any:
        provider = request.provider
        meta = provider.metadata
        meta.workspace = self.state.active(request.workspace)
        checks.labels(meta.labels)
        if not provider.type.strip():
            raise invalid("provider.type is required")
        if not provider.credentials:
            raise invalid("provider.credentials must not be empty")
        check_sizes(provider)
        if self.state.store.named(data.Provider, meta.workspace, meta.name):
            raise exists("provider already exists")
        self.seal(provider)
        return m.ProviderResponse(provider=shown(self.state.store.add(provider, "provider")))

    async def GetProvider(self, request: Any, context: Any) -> Any:
        return m.ProviderResponse(provider=shown(self.found(request)))

    async def ListProviders(self, request: Any, context: Any) -> Any:
        where = None if request.all_workspaces else self.state.workspace(request.workspace)
        return m.ListProvidersResponse(
            providers=[shown(one) for one in page(self.state.store.all(data.Provider, where), request)])

    async def UpdateProvider(self, request: Any, context: Any) -> Any:
        """Merge: what is given replaces, an empty value removes, the rest stays."""
        given = request.provider
        if not given.metadata.name:
            raise invalid("provider.name is required")
        stored = self.state.store.named(data.Provider, self.state.workspace(request.workspace), given.metadata.name)
        if stored is None:
            raise missing("provider not found")
        if given.type and given.type.lower() != stored.type.lower():
            raise invalid("provider type cannot be changed; delete and recreate the provider")
        for key, value in given.credentials.items():
            stored.credential_handles.pop(key, None)
            if value:
                stored.credentials[key] = value
        for key, value in given.config.items():
            stored.config.pop(key, None)
            if value:
                stored.config[key] = value
        check_sizes(stored)
        self.seal(stored)
        return m.ProviderResponse(provider=shown(self.state.store.save(stored)))

    async def DeleteProvider(self, request: Any, context: Any) -> Any:
        if not request.name:
            raise invalid("name is required")
        workspace = self.state.workspace(request.workspace)
        stored = self.state.store.named(data.Provider, workspace, request.name)
        if stored is None:
            return m.DeleteProviderResponse(deleted=False)
        users = [one.metadata.name for one in self.state.store.all(m.Sandbox, workspace)
                 if request.name in one.spec.providers]
        if users:
            raise precondition(f"provider '{request.name}' is attached to sandbox(es): {', '.join(users)}")
        return m.DeleteProviderResponse(deleted=self.state.store.remove(stored))

    async def ListSandboxProviders(self, request: Any, context: Any) -> Any:
        sandbox = self.state.sandbox(request.workspace, request.sandbox_name)
        found = [self.provider(sandbox.metadata.workspace, name) for name in sandbox.spec.providers]
        return m.ListSandboxProvidersResponse(providers=[shown(one) for one in found])

    async def AttachSandboxProvider(self, request: Any, context: Any) -> Any:
        if not request.provider_name:
            raise invalid("provider_name is required")
        sandbox = self.state.sandbox(request.workspace, request.sandbox_name)
        self.provider(sandbox.metadata.workspace, request.provider_name)
        fresh = request.provider_name not in sandbox.spec.providers
        if fresh:
            sandbox.spec.providers.append(request.provider_name)
            self.state.changed(sandbox)
        return m.AttachSandboxProviderResponse(sandbox=sandbox, attached=fresh)

    async def DetachSandboxProvider(self, request: Any, context: Any) -> Any:
        if not request.provider_name:
            raise invalid("provider_name is required")
        sandbox = self.state.sandbox(request.workspace, request.sandbox_name)
        was = request.provider_name in sandbox.spec.providers
        if was:
            sandbox.spec.providers.remove(request.provider_name)
            self.state.changed(sandbox)
        return m.DetachSandboxProviderResponse(sandbox=sandbox, detached=was)

    # For the other parts

    def found(self, request: Any) -> Any:
        if not request.name:
            raise invalid("name is required")
        stored = self.state.store.named(data.Provider, self.state.workspace(request.workspace), request.name)
        if stored is None:
            raise missing("provider not found")
        return stored

    def provider(self, workspace: str, name: str) -> Any:
        """A provider that something refers to; raises Refusal where it is missing."""
        stored = self.state.store.named(data.Provider, workspace, name)
        if stored is None:
            raise precondition(f"provider '{name}' not found")
        return stored

    def seal(self, provider: Any) -> None:
        for key, value in provider.credentials.items():
            provider.credential_handles[key].driver = DRIVER
            provider.credential_handles[key].handle = self.vault.seal(value, key)
        provider.credentials.clear()

    def secrets(self, provider: Any) -> dict[str, str]:
        return {key: self.vault.unseal(kept.handle, key) for key, kept in provider.credential_handles.items()}

    def placeholders(self, sandbox: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """The environment in place of a sandbox's credentials, and what the proxy puts there, towards which hosts."""
        env: dict[str, str] = {}
        secrets: dict[str, Any] = {}
        for name in sandbox.spec.providers:
            stored = self.state.store.named(data.Provider, sandbox.metadata.workspace, name)
            if stored is None:
                continue
            bound = [[one.host, port] for one in self.endpoints(sandbox.metadata.workspace, stored.type)
                     for port in ports(one)]
            for key, value in self.secrets(stored).items():
                version = int(hashlib.sha256(f"{name}{value}".encode()).hexdigest()[:12], 16)
                env[key] = f"openshell:resolve:env:v{version}_{key}"
                secrets[env[key]] = {"value": value, "bound": bound}
        return env, secrets

    def endpoints(self, workspace: str, type_: str) -> list[Any]:
        """Where a type's credentials may go: what its imported profile names; without one, nowhere."""
        stored = self.state.store.named(m.StoredProviderProfile, workspace, type_)
        stored = stored or self.state.store.named(m.StoredProviderProfile, "", type_)
        return list(stored.profile.endpoints) if stored else []


def ports(endpoint: Any) -> list[int]:
    return list(endpoint.ports) or [endpoint.port or 443]


def shown(provider: Any) -> Any:
    """A provider as calls give it out: names of credentials only."""
    copy = data.Provider()
    copy.CopyFrom(provider)
    for key in copy.credential_handles:
        copy.credentials[key] = HIDDEN
    copy.credential_handles.clear()
    return copy


def check_sizes(provider: Any) -> None:
    for field, given, most in (("provider.credentials", [*provider.credentials, *provider.credential_handles],
                                CREDENTIALS), ("provider.config", provider.config, CONFIG)):
        if len(given) > most:
            raise invalid(f"{field} exceeds maximum entries ({len(given)} > {most})")
    if len(provider.type) > TYPE:
        raise invalid(f"provider.type exceeds maximum length ({len(provider.type)} > {TYPE})")
