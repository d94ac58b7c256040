"""The test double's policies: revisions of each sandbox's policy, what of one may change, what holds now.

Owns static and live parts; must not know how a policy is enforced.
"""

import hashlib
from typing import Any

from . import checks
from .protocol import box, invalid, m, missing, now, precondition
from .settings import GLOBAL, Settings
from .state import Phase

SCHEMA = """
create table if not exists revisions (
  scope text not null, version integer not null, hash text not null, status integer not null, error text not null,
  created_at_ms integer not null, loaded_at_ms integer not null, payload blob not null, primary key (scope, version))
"""
PATHS, PATH = 256, 4096


class Policies(Settings):
    """Mixed into the service. A policy counts as loaded once the sandbox's supervisor has taken it."""

    async def UpdateConfig(self, request: Any, context: Any) -> Any:
        given = [request.HasField("policy"), bool(request.setting_key.strip()), bool(request.merge_operations)]
        if sum(given) > 1:
            raise invalid("policy, setting_key, and merge_operations are mutually exclusive")
        if not any(given):
            raise invalid("one of policy, setting_key, or merge_operations must be provided")
        sandbox = None
        if not getattr(request, "global"):
            if not request.name:
                raise invalid("name is required for sandbox-scoped updates")
            sandbox = self.state.sandbox(request.workspace, request.name)
        if given[1]:
            return self.update_setting(request, sandbox)
        if given[2]:
            raise invalid("the test double does not merge policies; set the whole policy")
        return self.update_policy(request, sandbox)

    def update_policy(self, request: Any, sandbox: Any | None) -> Any:
        policy = request.policy
        check_policy(policy)
        if sandbox is not None:
            if self.latest(GLOBAL):
                raise precondition("policy is managed globally; delete global policy before sandbox policy update")
            if sandbox.spec.HasField("policy"):
                check_static(sandbox.spec.policy, policy)
        scope = sandbox.metadata.id if sandbox is not None else GLOBAL
        latest = self.latest(scope)
        if latest and latest.policy_hash == digest(policy):
            return m.UpdateConfigResponse(version=latest.version, policy_hash=latest.policy_hash)
        version = self.revise(scope, policy, m.POLICY_STATUS_LOADED if sandbox is None else m.POLICY_STATUS_PENDING)
        if sandbox is not None and not sandbox.spec.HasField("policy"):
            sandbox.spec.policy.CopyFrom(policy)
            self.state.changed(sandbox)
        return m.UpdateConfigResponse(version=version, policy_hash=digest(policy))

    async def GetSandboxConfig(self, request: Any, context: Any) -> Any:
        sandbox = self.state.sandbox_by_id(request.sandbox_id)
        everywhere, own = self.latest(GLOBAL), self.latest(request.sandbox_id)
        holds = everywhere or own
        policy = self.effective(sandbox)
        return box.GetSandboxConfigResponse(
            policy=policy, version=own.version if own else 0, policy_hash=digest(policy) if policy else "",
            settings=self.effective_settings(sandbox), workspace=sandbox.metadata.workspace,
            policy_source=box.POLICY_SOURCE_GLOBAL if everywhere else box.POLICY_SOURCE_SANDBOX,
            global_policy_version=everywhere.version if everywhere else 0,
            config_revision=holds.version if holds else 0)

    async def GetSandboxPolicyStatus(self, request: Any, context: Any) -> Any:
        scope = self.policy_scope(request)
        active = self.active(scope)
        wanted = next((one for one in self.revisions(scope) if one.version == request.version), None) \
            if request.version else self.latest(scope)
        if wanted is None:
            raise missing("no policy revision found for this sandbox")
        return m.GetSandboxPolicyStatusResponse(revision=wanted, active_version=active)

    async def ListSandboxPolicies(self, request: Any, context: Any) -> Any:
        found = self.revisions(self.policy_scope(request))[request.offset:][:request.limit or 20]
        return m.ListSandboxPoliciesResponse(revisions=found)

    async def GetSandboxLogs(self, request: Any, context: Any) -> Any:
        self.state.sandbox_by_id(request.sandbox_id)
        kept = self.state.lines[request.sandbox_id]
        query = m.WatchSandboxRequest(log_since_ms=request.since_ms, log_sources=request.sources,
                                      log_min_level=request.min_level)
        return m.GetSandboxLogsResponse(logs=checks.lines(kept, query, request.lines or 2000),
                                        buffer_total=len(kept))

    # Revisions

    def policy_scope(self, request: Any) -> str:
        if getattr(request, "global"):
            return GLOBAL
        if not request.name:
            raise invalid("name is required")
        return str(self.state.sandbox(request.workspace, request.name).metadata.id)

    def revise(self, scope: str, policy: Any, status: int) -> int:
        """Keep a new revision; those that nobody loaded are superseded."""
        latest = self.latest(scope)
        version = latest.version + 1 if latest else 1
        database = self.state.store.database
        database.execute("update revisions set status=? where scope=? and status in (?, ?)",
                         (m.POLICY_STATUS_SUPERSEDED, scope, m.POLICY_STATUS_PENDING,
                          m.POLICY_STATUS_LOADED if scope == GLOBAL else m.POLICY_STATUS_PENDING))
        database.execute("insert into revisions values (?,?,?,?,'',?,0,?)",
                         (scope, version, digest(policy), status, now(), policy.SerializeToString()))
        return version

    def loaded(self, id_: str, version: int) -> None:
        """The supervisor took a revision: it is the one that holds."""
        database = self.state.store.database
        database.execute("update revisions set status=? where scope=? and version<>? and status=?",
                         (m.POLICY_STATUS_SUPERSEDED, id_, version, m.POLICY_STATUS_LOADED))
        database.execute("update revisions set status=?, loaded_at_ms=? where scope=? and version=?",
                         (m.POLICY_STATUS_LOADED, now(), id_, version))
        sandbox = self.state.store.by_id(m.Sandbox, id_)
        if sandbox is not None and sandbox.status.phase != Phase.SANDBOX_PHASE_DELETING:
            sandbox.status.current_policy_version = version
            self.state.changed(sandbox)

    def revisions(self, scope: str) -> list[Any]:
        """Newest first."""
        rows = self.state.store.database.execute(
            "select version, hash, status, error, created_at_ms, loaded_at_ms, payload from revisions where scope=? "
            "order by version desc", (scope,)).fetchall()
        return [m.SandboxPolicyRevision(
            version=row[0], policy_hash=row[1], status=row[2], load_error=row[3], created_at_ms=row[4],
            loaded_at_ms=row[5], policy=box.SandboxPolicy.FromString(row[6])) for row in rows]

    def latest(self, scope: str) -> Any | None:
        return next(iter(self.revisions(scope)), None)

    def active(self, scope: str) -> int:
        return next((int(one.version) for one in self.revisions(scope) if one.status == m.POLICY_STATUS_LOADED), 0)

    def effective(self, sandbox: Any) -> Any | None:
        """The policy that holds for a sandbox: the global one, else its own and what its providers' profiles add."""
        everywhere = self.latest(GLOBAL)
        if everywhere:
            return everywhere.policy
        policy = self.own_policy(sandbox)
        if policy is not None and self.flag("providers_v2_enabled"):
            for name in sandbox.spec.providers:
                for rule in self.provider_rules(sandbox.metadata.workspace, name):
                    policy.network_policies[f"_provider_{name}"].CopyFrom(rule)
        return policy

    def own_policy(self, sandbox: Any) -> Any | None:
        """A copy of a sandbox's newest own policy, None where it has none yet."""
        own = self.latest(sandbox.metadata.id)
        if own:
            return own.policy
        return box.SandboxPolicy.FromString(sandbox.spec.policy.SerializeToString()) \
            if sandbox.spec.HasField("policy") else None

    def provider_rules(self, workspace: str, name: str) -> list[Any]:
        raise NotImplementedError


def digest(policy: Any) -> str:
    return hashlib.sha256(policy.SerializeToString(deterministic=True)).hexdigest()


def check_policy(policy: Any) -> None:
    """Paths and endpoints; raises Refusal with every fault."""
    for key in policy.network_policies:
        if key.startswith("_provider_"):
            raise invalid(f"network_policies key '{key}' uses reserved '_provider_' prefix for provider composition; "
                          "use 'openshell policy get <sandbox> --base' for a round-trippable base policy, or use "
                          "'openshell policy get <sandbox> --full' to inspect the effective policy including provider "
                          "entries")
    read_write = list(policy.filesystem.read_write)
    paths = [*policy.filesystem.read_only, *read_write]
    wrong = [f"filesystem path must be absolute: {path}" for path in paths if not path.startswith("/")]
    wrong += [f"path traversal not allowed: {path}" for path in paths if ".." in path.split("/")]
    wrong += [f"read-write path is overly broad: {path}" for path in read_write if path == "/"]
    wrong += [f"path exceeds maximum length: {path[:40]}" for path in paths if len(path) > PATH]
    if len(paths) > PATHS:
        wrong.append(f"too many filesystem paths: {len(paths)}")
    for key, rule in policy.network_policies.items():
        wrong += [f"network policy '{key}': endpoint has no host" for one in rule.endpoints if not one.host]
    if policy.process.run_as_user in ("root", "0"):
        wrong.append("process.run_as_user must not be root")
    if wrong:
        raise invalid(f"policy contains unsafe content: {'; '.join(wrong)}")


def check_static(old: Any, new: Any) -> None:
    """Paths may be added, silently without effect on what runs; everything else static must stay."""
    if old.HasField("filesystem"):
        if not new.HasField("filesystem"):
            raise invalid("filesystem policy cannot be removed on a live sandbox")
        if old.filesystem.include_workdir != new.filesystem.include_workdir:
            raise invalid("filesystem include_workdir cannot be changed on a live sandbox")
        for field in ("read_only", "read_write"):
            for path in getattr(old.filesystem, field):
                if path not in getattr(new.filesystem, field):
                    raise invalid(f"filesystem {field} path '{path}' cannot be removed on a live sandbox")
    for field in ("landlock", "process"):
        if getattr(old, field) != getattr(new, field):
            raise invalid(f"{field} policy cannot be changed on a live sandbox (applied at startup)")
