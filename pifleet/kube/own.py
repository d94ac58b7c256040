"""Owns one look at a cluster by who may see their own sandboxes only: each StatefulSet by its name, and its pod.
It must not judge what was seen; what it may not see it names, so that nobody takes it for missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pifleet.kube.client import Api, ApiRefused, Json, path
from pifleet.kube.pods import container_of, state_of, titles_of, trouble_of, waits_for

FORBIDDEN = 403


def look(api: Api, version: str, boxes: Sequence[Mapping[str, Any]]) -> Json:
    """The section `cluster` of a look, with `hidden`: the titles of the sandboxes that may not be seen.

    Nobody is asked inside: who sees only this plans nothing. Raises HostFailed.
    """
    objects, pods, hidden = dict[str, Json](), dict[str, Json](), []
    for box in boxes:
        try:
            owner = api.get(path("apps/v1", "statefulsets", box["namespace"], box["container"]))
            pod = api.get(path("v1", "pods", box["namespace"], box["pod"])) if owner else None
        except ApiRefused as error:
            if error.code != FORBIDDEN:
                raise
            hidden.append(box["title"])
            continue
        if owner:
            objects[f"StatefulSet {box['namespace']}/{box['container']}"] = owner
        if pod:
            state = state_of(owner, pod)
            pods[f"{box['namespace']}/{box['pod']}"] = {
                "state": state, "why": "" if state == "running" else trouble_of(pod) or waits_for(pod),
                "image": container_of(pod, "pi").get("image"), "agent": None}
    return {"version": version, "objects": objects, "titles": titles_of(objects), "pods": pods, "claims": {},
            "repos": {}, "images": [], "classes": {}, "user_namespaces": [], "enforcer": "", "own": True,
            "hidden": hidden}
