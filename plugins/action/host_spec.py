"""Owns telling a play what should be on its host: the fact `pifleet`, one host's spec.
It must not decide anything of it; the pifleet package does, or has done so already."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.pifleet.fleet.plugins.plugin_utils.specs import spec_of

DOCUMENTATION = """
module: host_spec
short_description: Sets the fact C(pifleet) to what should be on the host
description:
  - Takes it from the folder C(pifleet_specs) if that variable is given, else asks the pifleet package.
options: {}
"""


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        if "pifleet" in task_vars:  # an earlier play of the same run
            return {"changed": False}
        spec = spec_of(task_vars)
        if spec["cluster"]:
            # Megabytes of a large fleet, which Ansible would copy for each task; kube_objects reads them itself.
            spec["cluster"]["objects"] = []
        return {"changed": False, "ansible_facts": {"pifleet": spec}}
