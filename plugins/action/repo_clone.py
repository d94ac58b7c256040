"""Owns giving a clone its credential: fetched here only when there is something to clone, sent to the module alone.
It must not show, keep or log a value."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.pifleet.fleet.plugins.plugin_utils import secret_values
from ansible_collections.pifleet.fleet.plugins.plugin_utils.looking import would_do

MODULE = "pifleet.fleet.repo_clone"


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        secret = arguments.pop("secret", "")
        if secret:
            seen = would_do(self, MODULE, arguments, task_vars)
            if not (seen.get("changed") or seen.get("failed")):
                return {**result, "changed": False}
        if secret and not self._task.check_mode:
            secret_values.require_pipelining(self)
            kind = secret.rpartition(":")[2]  # "repo:NAME:token" or "repo:NAME:ssh_key"
            arguments[kind] = secret_values.fetch(secret, task_vars)
        return {**result, **self._execute_module(MODULE, arguments, task_vars=task_vars)}
