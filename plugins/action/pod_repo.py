"""Owns a repository's way into a pod: cloned on the controller with its credential, handed over whole, without one.
It must not touch what is in a workspace already, and no git runs here on anything that a sandbox has written."""

from __future__ import annotations

import getpass
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.pifleet.fleet.plugins.modules.repo_clone import Clone, CloneError
from ansible_collections.pifleet.fleet.plugins.plugin_utils import secret_values
from ansible_collections.pifleet.fleet.plugins.plugin_utils.clusters import reached

DOCUMENTATION = """
module: pod_repo
short_description: Clones a repository into a pod's workspace, once
description:
  - What it started from is an annotation of the workspace's claim.
options:
  cluster: {description: "C(kubeconfig) and C(context), as in the spec.", type: dict, required: true}
  sandbox: {description: "The sandbox's entry of the spec.", type: dict, required: true}
  repo: {description: "The repository's entry of it.", type: dict, required: true}
"""
BASES = "pifleet.io/bases"


class ActionModule(ActionBase):
    _VALID_ARGS = frozenset(("cluster", "sandbox", "repo"))
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        box, repo = self._task.args["sandbox"], self._task.args["repo"]
        with reached(task_vars["inventory_hostname"], self._task.args["cluster"]) as api:
            from pifleet.kube import hand
            from pifleet.kube.apply import patiently
            from pifleet.kube.exec import Pod

            pod = Pod(box["namespace"], box["pod"], "pi")
            there = patiently(lambda: hand.is_there(api, pod, repo["name"]))
            if there or self._task.check_mode:
                return {**result, "changed": not there}
            with tempfile.TemporaryDirectory() as folder, _cloned(repo, folder, task_vars) as clone:
                base = _run(clone, repo["name"])
                patiently(lambda: _remember(api, box, repo, base))
                changed = patiently(lambda: hand.hand_over(api, pod, Path(clone.work, "repo"), repo["name"]))
        return {**result, "changed": changed, "base": base}


def _cloned(repo: Mapping[str, str], folder: str, task_vars: Any) -> Any:
    kind = repo["secret"].rpartition(":")[2]  # "repo:NAME:token" or "repo:NAME:ssh_key"
    credential = {kind: secret_values.fetch(repo["secret"], task_vars)} if kind else {}
    return Clone({
        "name": repo["name"], "url": repo["url"], "ref": repo["ref"], "known_hosts": repo["known_hosts"],
        "token": "", "ssh_key": "", **credential, "clones": folder, "user": getpass.getuser(), "uid": os.getuid(),
    })


def _run(clone: Any, name: str) -> str:
    try:
        return str(clone.run())
    except (CloneError, OSError) as error:
        raise AnsibleActionFail(f"{name}: {error}") from None


def _remember(api: Any, box: Mapping[str, Any], repo: Mapping[str, str], base: str) -> None:
    """Say on the workspace's claim what the clone started from, before it is there."""
    from pifleet.kube.client import MERGE, path

    claim = path("v1", "persistentvolumeclaims", box["namespace"], f"workspace-{box['pod']}")
    known = ((api.get(claim) or {}).get("metadata") or {}).get("annotations") or {}
    bases = {**json.loads(known.get(BASES, "{}")),
             repo["name"]: {"url": repo["url"], "ref": repo["ref"], "base": base}}
    api.request("PATCH", claim, {"metadata": {"annotations": {BASES: json.dumps(bases, sort_keys=True)}}},
                content=MERGE)
