"""The test double's workspaces: where sandboxes, providers and routes of one developer are apart from others'.

Owns what stands in the way of a workspace's end; must not know what is in it.
"""

from typing import Any

from . import checks
from .protocol import data, exists, inf, invalid, m, missing, now, precondition
from .sandboxes import matches, page
from .state import State

DEFAULT = "default"
BLOCKING = ((m.Sandbox, "sandbox"), (data.Provider, "provider"), (m.StoredProviderProfile, "provider profile"),
            (m.SshSession, "ssh session"))


class Workspaces:
    """Mixed into the service."""

    state: State

    async def CreateWorkspace(self, request: Any, context: Any) -> Any:
        if not request.name:
            raise invalid("workspace name is required")
        checks.name(request.name, "workspace name")
        checks.labels(request.labels)
        workspace = data.Workspace(metadata=data.ObjectMeta(name=request.name, labels=dict(request.labels)))
        workspace.status.phase = data.WORKSPACE_PHASE_ACTIVE
        return m.CreateWorkspaceResponse(workspace=self.state.store.add(workspace, "workspace"))

    async def GetWorkspace(self, request: Any, context: Any) -> Any:
        found = self.state.store.named(data.Workspace, "", request.name)
        if found is None:
            raise missing("workspace not found")
        return m.GetWorkspaceResponse(workspace=found)

    async def ListWorkspaces(self, request: Any, context: Any) -> Any:
        found = [one for one in self.state.store.all(data.Workspace)
                 if matches(one.metadata.labels, request.label_selector)]
        return m.ListWorkspacesResponse(workspaces=page(found, request))

    async def DeleteWorkspace(self, request: Any, context: Any) -> Any:
        """From here on nothing can be made in it, even where something still stands in the way."""
        if request.name == DEFAULT:
            raise precondition("the default workspace cannot be deleted")
        found = self.state.store.named(data.Workspace, "", request.name)
        if found is None:
            raise missing(f"workspace '{request.name}' not found")
        if not found.metadata.deletion_timestamp_ms:
            found.metadata.deletion_timestamp_ms = now()
            found.status.phase = data.WORKSPACE_PHASE_TERMINATING
            self.state.store.save(found)
        still = [what for kind, what in BLOCKING if self.state.store.all(kind, request.name)]
        if still:
            raise precondition(f"workspace '{request.name}' still contains resources: {', '.join(still)}")
        for kind in (inf.InferenceRoute, m.WorkspaceMember):
            for one in self.state.store.all(kind, request.name):
                self.state.store.remove(one)
        return m.DeleteWorkspaceResponse(deleted=self.state.store.remove(found))

    async def AddWorkspaceMember(self, request: Any, context: Any) -> Any:
        workspace = self.state.active(request.workspace)
        if not request.principal_subject:
            raise invalid("principal_subject is required")
        if self.state.store.named(m.WorkspaceMember, workspace, request.principal_subject):
            raise exists("member already exists in this workspace")
        meta = data.ObjectMeta(name=request.principal_subject, workspace=workspace)
        member = m.WorkspaceMember(metadata=meta, principal_subject=request.principal_subject, role=request.role)
        return m.AddWorkspaceMemberResponse(member=self.state.store.add(member, "member"))

    async def RemoveWorkspaceMember(self, request: Any, context: Any) -> Any:
        found = self.state.store.named(m.WorkspaceMember, request.workspace, request.principal_subject)
        return m.RemoveWorkspaceMemberResponse(removed=bool(found) and self.state.store.remove(found))

    async def ListWorkspaceMembers(self, request: Any, context: Any) -> Any:
        found = self.state.store.all(m.WorkspaceMember, self.state.workspace(request.workspace))
        return m.ListWorkspaceMembersResponse(members=page(found, request))
