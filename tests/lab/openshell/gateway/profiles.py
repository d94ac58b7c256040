"""The test double's provider profiles: imported ones only, for the real gateway's own are not ours to copy.

Owns the kept profiles and what is wrong with a new one; must not know credentials.
"""

import re
from typing import Any

from .protocol import data, invalid, m, missing, precondition
from .sandboxes import page
from .state import State


class Profiles:
    """Mixed into the service."""

    state: State

    async def ListProviderProfiles(self, request: Any, context: Any) -> Any:
        where = self.place(request)
        found = [one.profile for one in self.state.store.all(m.StoredProviderProfile) if one.metadata.workspace in
                 ("", where)]
        return m.ListProviderProfilesResponse(profiles=page(found, request))

    async def GetProviderProfile(self, request: Any, context: Any) -> Any:
        return m.ProviderProfileResponse(profile=self.profile(request).profile)

    async def LintProviderProfiles(self, request: Any, context: Any) -> Any:
        wrong = [fault for item in request.profiles for fault in faults(item)]
        return m.LintProviderProfilesResponse(diagnostics=wrong, valid=not wrong)

    async def ImportProviderProfiles(self, request: Any, context: Any) -> Any:
        """All or none: one that is wrong or there already keeps the others out."""
        where = self.place(request)
        wrong = [fault for item in request.profiles for fault in faults(item)]
        for item in request.profiles:
            if self.state.store.named(m.StoredProviderProfile, where, item.profile.id):
                wrong.append(fault(item, "id", f"custom provider profile '{item.profile.id}' already exists"))
        if wrong:
            return m.ImportProviderProfilesResponse(diagnostics=wrong, imported=False)
        kept = []
        for item in request.profiles:
            meta = data.ObjectMeta(name=item.profile.id, workspace=where)
            stored = m.StoredProviderProfile(metadata=meta, profile=item.profile)
            stored.profile.resource_version = 1
            kept.append(self.state.store.add(stored, "provider profile").profile)
        return m.ImportProviderProfilesResponse(profiles=kept, imported=True)

    async def UpdateProviderProfiles(self, request: Any, context: Any) -> Any:
        stored = self.profile(request)
        wrong = faults(request.profile)
        if wrong:
            return m.UpdateProviderProfilesResponse(diagnostics=wrong, updated=False)
        stored.profile.CopyFrom(request.profile.profile)
        stored.profile.resource_version = stored.metadata.resource_version + 1
        return m.UpdateProviderProfilesResponse(profile=self.state.store.save(stored).profile, updated=True)

    async def DeleteProviderProfile(self, request: Any, context: Any) -> Any:
        stored = self.profile(request)
        users = [one.metadata.name for one in self.state.store.all(data.Provider) if one.type == request.id]
        if users:
            raise precondition(f"provider profile '{request.id}' is in use by providers: {', '.join(users)}")
        return m.DeleteProviderProfileResponse(deleted=self.state.store.remove(stored))

    def place(self, request: Any) -> str:
        """The workspace of a request; profiles of the empty one hold everywhere."""
        return self.state.workspace(request.workspace) if request.workspace else ""

    def profile(self, request: Any) -> Any:
        if not request.id:
            raise invalid("id is required")
        for where in (self.place(request), ""):
            if found := self.state.store.named(m.StoredProviderProfile, where, request.id):
                return found
        raise missing("provider profile not found")


def faults(item: Any) -> list[Any]:
    found = []
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", item.profile.id):
        found.append(fault(item, "id", "id must be lowercase kebab-case using only a-z, 0-9, and '-'"))
    for number, endpoint in enumerate(item.profile.endpoints):
        if not endpoint.host:
            found.append(fault(item, f"endpoints[{number}].host", "endpoint host is required"))
    return found


def fault(item: Any, field: str, message: str) -> Any:
    return m.ProviderProfileDiagnostic(source=item.source, profile_id=item.profile.id, field=field, message=message,
                                       severity="error")
