"""Owns what is asked inside pods for a look at their cluster: repositories, and whether pi is at work.
It must not ask what a list of the cluster's objects already says, and believes little of what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pifleet.fleet import Host
from pifleet.kube.client import Api, Json
from pifleet.kube.exec import Pod
from pifleet.kube.pods import OWNER, container_of, state_of
from pifleet.kube.said import said
from pifleet.patterns.pod.box import REPOS
from pifleet.threads import side_by_side

ASKED_AT_ONCE = 16
# A kubelet's own period of looking at such files, and as much again (docs: "Mounted ConfigMaps are updated").
READ_WITHIN = timedelta(seconds=150)
AT_WORK = "cat /proc/[0-9]*/comm 2>/dev/null | grep -cx pi; true"
WHICH = 'for one; do [ -e "/workspace/$one/.git" ] && printf "%s\\n" "$one"; done; true'


def repos(
    api: Api, boxes: Sequence[Mapping[str, Any]], objects: Mapping[str, Json], pods: Mapping[str, Json]
) -> dict[str, dict[str, bool]]:
    """By title, which of a sandbox's repositories are there.

    The kubelet says it of all that a pod was told of, once it has read that; where it says no, or more are wanted now,
    somebody has to ask inside. Where nobody can, the sandbox is left out.
    """
    def known(box: Mapping[str, Any]) -> tuple[str, dict[str, bool] | None]:
        one = pods.get(f"{box['namespace']}/{box['pod']}")
        wanted = [repo["name"] for repo in box["repos"]]
        if not wanted:
            return box["title"], {}
        if one is None or state_of(OWNER, one) != "running":
            return box["title"], None
        told = objects.get(f"ConfigMap {box['namespace']}/{box['container']}") or {"data": {}, "metadata": {}}
        listed = (told.get("data") or {}).get(REPOS, "").splitlines()
        if container_of(one, "pi").get("ready") and set(wanted) <= set(listed) and _read_by_all(api, told):
            return box["title"], dict.fromkeys(wanted, True)
        return box["title"], _asked(api.host, box, wanted)

    found = side_by_side(list(boxes), known, ASKED_AT_ONCE)
    return {title: there for title, there in found if there is not None}


def _read_by_all(api: Api, one: Json) -> bool:
    """Whether a ConfigMap was the same for so long that every pod that has it has these values."""
    changed = str(one["metadata"].get("changed") or "")
    return bool(changed) and api.now() - datetime.fromisoformat(changed) > READ_WITHIN


def agent(host: Host, name: str) -> Json | None:
    """How many processes of pi's are in a pod; None where nobody inside could say."""
    namespace, _, pod = name.partition("/")
    count = said(host, Pod(namespace, pod, "pi"), ["sh", "-c", AT_WORK])
    return {"processes": int(count)} if count and count.strip().isdigit() else None


def _asked(host: Host, box: Mapping[str, Any], wanted: list[str]) -> dict[str, bool] | None:
    there = said(host, Pod(box["namespace"], box["pod"], "pi"), ["sh", "-c", WHICH, "which", *wanted])
    return None if there is None else {name: name in there.splitlines() for name in wanted}
