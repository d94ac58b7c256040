"""Owns carrying secrets into files on a host: fetched here, put into their template, written there by `tree`.
It must not show, keep or log a value."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.pifleet.fleet.plugins.plugin_utils import secret_values

DOCUMENTATION = """
module: secret_files
short_description: Files of root that hold a secret
description:
  - The value goes to the host as a module argument that is never logged, through a pipelined connection only.
options:
  files:
    description: Entries with O(files[].path), O(files[].mode), the name of the O(files[].secret) and the
      O(files[].template) whose C({}) is replaced by its value; with O(files[].lines) it may have more than one.
    type: list
    elements: dict
    required: true
"""


class ActionModule(ActionBase):
    _VALID_ARGS = frozenset(("files",))
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        if not self._task.args["files"]:
            return {**result, "changed": False}
        secret_values.require_pipelining(self)
        secrets = [
            {"path": entry["path"], "mode": entry["mode"], "content": secret_values.content(entry, task_vars)}
            for entry in self._task.args["files"]
        ]
        return {**result, **self._execute_module("pifleet.fleet.tree", {"secrets": secrets}, task_vars=task_vars)}
