"""The test double's settings: for one sandbox, or for all of a gateway.

Owns the keys there are; must not know what follows from a value.
"""

from typing import Any

from .protocol import box, invalid, m, precondition
from .state import State

SCHEMA = """
create table if not exists settings (
  scope text not null, key text not null, value blob not null, primary key (scope, key));
create table if not exists settings_revisions (scope text primary key, revision integer not null)
"""
GLOBAL = "global"
KINDS = {"providers_v2_enabled": "bool_value", "ocsf_json_enabled": "bool_value",
         "agent_policy_proposals_enabled": "bool_value", "proposal_approval_mode": "string_value"}
MODES = ("manual", "auto")


class Settings:
    """Mixed into the service."""

    state: State

    async def GetGatewayConfig(self, request: Any, context: Any) -> Any:
        return box.GetGatewayConfigResponse(settings=self.settings(GLOBAL), settings_revision=self.revision(GLOBAL))

    def update_setting(self, request: Any, sandbox: Any | None) -> Any:
        key, scope = request.setting_key.strip(), sandbox.metadata.id if sandbox is not None else GLOBAL
        if key == "policy" and sandbox is None and request.delete_setting:
            gone = self.state.store.database.execute("delete from revisions where scope=?", (GLOBAL,)).rowcount
            return m.UpdateConfigResponse(deleted=gone > 0)
        if key == "policy":
            how = "the policy field" if sandbox is None else "policy commands"
            raise invalid(f"reserved key 'policy' must be set via {how}")
        if key not in KINDS:
            raise invalid(f"unknown setting key '{key}'. Allowed keys: {', '.join(KINDS)}")
        if sandbox is not None and key in self.settings(GLOBAL):
            what = "first" if request.delete_setting else "before sandbox update"
            raise precondition(f"setting '{key}' is managed globally; delete the global setting {what}")
        database = self.state.store.database
        if request.delete_setting:
            gone = database.execute("delete from settings where scope=? and key=?", (scope, key)).rowcount > 0
            return m.UpdateConfigResponse(settings_revision=self.bump(scope, gone), deleted=gone)
        check_value(key, request)
        old = self.settings(scope).get(key)
        database.execute("insert or replace into settings values (?,?,?)",
                         (scope, key, request.setting_value.SerializeToString()))
        return m.UpdateConfigResponse(settings_revision=self.bump(scope, old != request.setting_value))

    def settings(self, scope: str) -> dict[str, Any]:
        rows = self.state.store.database.execute("select key, value from settings where scope=?", (scope,)).fetchall()
        return {key: box.SettingValue.FromString(value) for key, value in rows}

    def effective_settings(self, sandbox: Any) -> dict[str, Any]:
        """Every known key; without a value where nobody set it."""
        own, everywhere = self.settings(sandbox.metadata.id), self.settings(GLOBAL)
        made = {key: box.EffectiveSetting() for key in KINDS}
        for scope, values in ((box.SETTING_SCOPE_SANDBOX, own), (box.SETTING_SCOPE_GLOBAL, everywhere)):
            for key, value in values.items():
                made[key] = box.EffectiveSetting(value=value, scope=scope)
        return made

    def flag(self, key: str) -> bool:
        return bool(self.settings(GLOBAL).get(key, box.SettingValue()).bool_value)

    def revision(self, scope: str) -> int:
        row = self.state.store.database.execute("select revision from settings_revisions where scope=?",
                                                (scope,)).fetchone()
        return row[0] if row else 0

    def bump(self, scope: str, changed: bool) -> int:
        if changed:
            self.state.store.database.execute("insert or replace into settings_revisions values (?,?)",
                                              (scope, self.revision(scope) + 1))
        return self.revision(scope)


def check_value(key: str, request: Any) -> None:
    if not request.HasField("setting_value"):
        raise invalid("setting_value is required")
    kind = request.setting_value.WhichOneof("value")
    if kind != KINDS[key]:
        raise invalid(f"setting '{key}' expects a {KINDS[key].removesuffix('_value')} value")
    if key == "proposal_approval_mode" and request.setting_value.string_value not in MODES:
        raise invalid(f"setting '{key}' expects one of {', '.join(MODES)}")
