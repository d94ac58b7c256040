"""Owns giving a provider its key: fetched here only when a provider is to be made, sent to the module alone.
It must not show, keep or log a value."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.pifleet.fleet.plugins.plugin_utils import secret_values
from ansible_collections.pifleet.fleet.plugins.plugin_utils.looking import would_do

MODULE = "pifleet.fleet.openshell_workspace"


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        secret = arguments["workspace"].get("provider", {}).get("secret")
        if secret and not self._task.check_mode:
            seen = would_do(self, MODULE, arguments, task_vars)
            if seen.get("failed") or not seen.get("changed"):
                return {**result, **seen}
            secret_values.require_pipelining(self)
            arguments["key"] = secret_values.fetch(secret, task_vars)
        return {**result, **self._execute_module(MODULE, arguments, task_vars=task_vars)}
