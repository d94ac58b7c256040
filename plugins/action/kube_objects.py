"""Owns that a cluster has the objects of a spec: brought there from the controller, Secrets with their values.
It must not decide what an object says, and shows of a Secret no more than its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.pifleet.fleet.plugins.plugin_utils import secret_values
from ansible_collections.pifleet.fleet.plugins.plugin_utils.clusters import reached, told
from ansible_collections.pifleet.fleet.plugins.plugin_utils.specs import spec_of

DOCUMENTATION = """
module: kube_objects
short_description: Has objects in a cluster as a spec says
description:
  - Server-side apply with field manager C(pifleet); what somebody added to a field that is pifleet's goes.
  - Runs on the controller, with check mode and diff. A sandbox that is refused does not keep others from theirs.
options:
  cluster: {description: "C(kubeconfig) and C(context), as in the spec.", type: dict, required: true}
  part:
    description: Which part of the spec to have; a fleet's objects are too many to be handed over by templates.
    type: str
  without: {description: "Names of objects of the part that are left as they are.", type: list, elements: str}
  tokens: {description: "Namespace and name of the Secret with the sandboxes' tokens.", type: str}
  stopped: {description: "Namespace and name of StatefulSets to scale to none.", type: list, elements: dict}
  absent: {description: "Names of objects to delete, such as C(Namespace acme-ana).", type: list, elements: str}
"""


def _groups(entries: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Entries that are made one after another: those of each namespace, and of each sandbox in it."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in entries:
        metadata = entry["object"]["metadata"]
        found.setdefault((metadata.get("namespace", metadata["name"]), entry["sandbox"]), []).append(entry)
    return list(found.values())


class ActionModule(ActionBase):
    _VALID_ARGS = frozenset(("cluster", "part", "without", "tokens", "stopped", "absent"))
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        wanted = self._task.args
        with reached(task_vars["inventory_hostname"], wanted["cluster"]) as api:
            changed = [f"{key} stopped" for key in self._stopped(api, wanted.get("stopped") or ())]
            changed += [f"{key} deleted" for key in self._absent(api, wanted.get("absent") or ())]
            entries = self._entries(task_vars) if "part" in wanted else []
            said, failed = self._had(api, entries, wanted.get("tokens", ""), task_vars)
        changed += said
        result |= {"changed": bool(changed), "diff": {"prepared": "".join(f"{line}\n" for line in changed)}}
        return {**result, "failed": True, "msg": "; ".join(failed)} if failed else result

    def _entries(self, task_vars: Any) -> list[Mapping[str, Any]]:
        part, without = self._task.args["part"], self._task.args.get("without") or ()
        return [entry for entry in spec_of(task_vars)["cluster"]["objects"]
                if entry["part"] == part and entry["object"]["metadata"]["name"] not in without]

    def _had(
        self, api: Any, entries: Sequence[Mapping[str, Any]], tokens: str, task_vars: Any
    ) -> tuple[list[str], list[str]]:
        """What was changed, and what could not be."""
        from pifleet.errors import PifleetError
        from pifleet.kube import apply
        from pifleet.threads import side_by_side

        known = apply.Objects(api)
        said: list[str] = []
        failed: list[str] = []

        def have(own: Sequence[Mapping[str, Any]]) -> None:
            title = own[0]["sandbox"]
            try:
                changes = apply.have(api, known, own, tokens,
                                     lambda source: secret_values.content(source, task_vars),
                                     check=self._task.check_mode)
            except PifleetError as error:
                failed.append(": ".join(filter(None, (title, told(error.trouble)))))
                return
            said.extend(f"{one.key}: {', '.join(one.fields) or 'made'}" for one in changes)

        first, *others = _groups(entries) or [[]]
        if first:
            have(first)  # the gateway, which others name
        side_by_side(others, have, apply.AT_ONCE)
        if not self._task.check_mode:
            self._awaited(api, entries, failed)
        return said, failed

    def _awaited(self, api: Any, entries: Sequence[Mapping[str, Any]], failed: list[str]) -> None:
        from pifleet.kube import apply

        made = [entry["object"] for entry in entries if entry["object"]["kind"] in ("Deployment", "StatefulSet")]
        # What becomes of a sandbox is its own row, by the look that follows.
        failed += [f"{key} does not come to run: {why}" for key, why in apply.come_to_run(api, made).items()
                   if key.startswith("Deployment")]

    def _stopped(self, api: Any, sets: Sequence[Mapping[str, str]]) -> list[str]:
        from pifleet.kube import apply

        keys = [f"StatefulSet {one['namespace']}/{one['name']}" for one in sets]
        return keys if self._task.check_mode else [key for key in keys if apply.scaled(api, key, 0)]

    def _absent(self, api: Any, keys: Sequence[str]) -> list[str]:
        from pifleet.kube import apply

        return list(keys) if self._task.check_mode else apply.gone(api, keys)
