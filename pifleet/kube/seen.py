"""Owns what a Pod object says of itself: its state in our words, with the reason, and of each container.
It must not reach a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a kubelet says of a container that will not start by waiting (kubelet's own reasons).
FINAL = ("ErrImageNeverPull", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError",
         "CreateContainerError", "CrashLoopBackOff", "RunContainerError")


def state(pod: Mapping[str, Any]) -> tuple[str, str]:
    """running|starting|error, and why it is not running."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return "starting", "the one before it is ending"
    if status.get("phase") in ("Failed", "Succeeded"):
        return "error", _said(status)
    containers = status.get("containerStatuses") or []
    for one in [*containers, *(status.get("initContainerStatuses") or [])]:
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in FINAL:
            return "error", ": ".join(filter(None, (waiting["reason"], str(waiting.get("message", "")))))
    if containers and all((one.get("state") or {}).get("running") for one in containers):
        return "running", ""
    for one in status.get("conditions") or []:
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return "error", str(one.get("message") or one.get("reason") or "no node takes it")
    return "starting", "its containers do not run yet"


def container_of(pod: Mapping[str, Any], name: str, part: str = "status") -> Mapping[str, Any]:
    """What the pod's status, or its spec, says of a container; nothing where it says nothing."""
    key = "containerStatuses" if part == "status" else "containers"
    for one in (pod.get(part) or {}).get(key) or ():
        if one.get("name") == name:
            found: Mapping[str, Any] = one
            return found
    return {}


def _said(status: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (str(status.get("reason") or status.get("phase")), str(status.get("message", "")))))
