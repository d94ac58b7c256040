"""Owns what a cluster itself says of pods that it does not make: the newest warning about what should own them.
It must not judge it, and asks nothing else."""

from __future__ import annotations

from pifleet.kube.client import Api, ApiRefused, path


def warning(api: Api, namespace: str, pod: str) -> str:
    """Why a StatefulSet has no such pod, in the cluster's words; "" where nothing is said. Raises HostFailed."""
    owner = pod.rpartition("-")[0]
    chosen = f"involvedObject.kind=StatefulSet,involvedObject.name={owner},type=Warning"
    try:
        found = list(api.listed(path("v1", "events", namespace), fieldSelector=chosen))
    except ApiRefused:
        return ""
    newest = max(found, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""), default={})
    return str(newest.get("message") or "")[:300]
