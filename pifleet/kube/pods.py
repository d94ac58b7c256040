"""Owns what the state of a StatefulSet of one and its pod is in pifleet's words.
It is pure: it must not ask a cluster, and takes objects as the API server gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pifleet.fleet import KUBE_LABEL

# Why a container waits where no waiting mends it (k8s.io/kubernetes, pkg/kubelet: container and image errors).
HOPELESS = frozenset({
    "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull", "ErrImagePull",
    "ImageInspectError", "ImagePullBackOff", "InvalidImageName", "RunContainerError",
})
Json = Mapping[str, Any]
# What owns a pod that is looked at for itself.
OWNER: Json = {"spec": {"replicas": 1}}


def titles_of(objects: Mapping[str, Json]) -> dict[str, str]:
    """Key -> title of the StatefulSets among these objects that are a sandbox's; they say so themselves."""
    said = {key: (one["metadata"].get("annotations") or {}).get(f"{KUBE_LABEL}title", "")
            for key, one in objects.items() if key.startswith("StatefulSet ")}
    return {key: str(title) for key, title in said.items() if title}


def is_of(owner: Json, pod: Json) -> bool:
    """Whether a pod is no other owner's: the pods of a StatefulSet outlive it, and carry the labels of the next one."""
    uid = (owner.get("metadata") or {}).get("uid")
    refs = pod["metadata"].get("ownerReferences") or ()
    return uid is None or all(ref["uid"] == uid for ref in refs if ref["kind"] == "StatefulSet")


def state_of(owner: Json | None, pod: Json | None) -> str:
    """running|stopped|starting|missing|error|unknown, of a sandbox's StatefulSet and its pod; None: not there."""
    if not owner:
        return "missing"
    if not owner["spec"].get("replicas", 1):
        return "stopped"
    if not pod or pod["metadata"].get("deletionTimestamp") or not is_of(owner, pod):
        return "starting"
    status = pod.get("status") or {}
    if trouble_of(pod):
        return "error"
    if status.get("phase") != "Running":
        return {"Pending": "starting"}.get(status.get("phase", ""), "unknown")
    said = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    # A kubelet that finds something lacking says so of the containers too; of a node that is silent others say it.
    if said.get("Ready") != "True" and said.get("ContainersReady") == "True":
        return "unknown"
    started = all("running" in one.get("state", {}) for one in status.get("containerStatuses") or ())
    return "running" if started else "starting"


def trouble_of(pod: Json) -> str:
    """Why a pod will not run by itself, in the cluster's words; "" where it may."""
    status = pod.get("status") or {}
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = one.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in HOPELESS:
            return f"{waiting['reason']}: {waiting.get('message') or one.get('image', '')}"[:300]
    return f"{status.get('reason', 'Failed')}: {status.get('message', '')}" if status.get("phase") == "Failed" else ""


def container_of(pod: Json, name: str) -> Json:
    """What the pod's status says of a container; nothing where it says nothing."""
    told = (pod.get("status") or {}).get("containerStatuses") or ()
    found: Json = next((one for one in told if one.get("name") == name), {})
    return found


def waits_for(pod: Json | None) -> str:
    """What a pod that does not run yet waits for, in the cluster's words; "" where nothing is said."""
    status = (pod or {}).get("status") or {}
    for one in status.get("conditions") or ():
        if one.get("status") == "False" and one.get("message"):
            return f"{one.get('reason', one.get('type'))}: {one['message']}"[:300]
    return ""
