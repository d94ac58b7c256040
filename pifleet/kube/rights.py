"""Owns asking a cluster what whoever the kubeconfig names may do there, verb by verb.
It must not know why anything of it is needed beyond that pifleet does it."""

from __future__ import annotations

from pifleet.fleet import Host
from pifleet.kube.client import Api, path
from pifleet.kube.look import OURS
from pifleet.threads import side_by_side

VERBS = ("list", "create", "patch", "delete")
ASKED_AT_ONCE = 8
NEEDED = [
    *((group, resource, verb) for group, resource in (("v1", "namespaces"), *OURS.values()) for verb in VERBS),
    ("v1", "pods", "list"), ("v1", "pods/exec", "get"), ("v1", "pods/exec", "create"), ("v1", "pods/log", "get"),
    ("v1", "persistentvolumeclaims", "list"), ("v1", "persistentvolumeclaims", "delete"),
    ("coordination.k8s.io/v1", "leases", "create"), ("coordination.k8s.io/v1", "leases", "update"),
]


def lacking(host: Host) -> list[str]:
    """What pifleet needs in every namespace and may not do, such as "patch secrets". Raises HostFailed."""
    with Api(host) as api:
        answers = side_by_side(NEEDED, lambda needed: _may(api, *needed), ASKED_AT_ONCE)
    return [f"{verb} {resource}" for (_, resource, verb), may in zip(NEEDED, answers, strict=True) if not may]


def _may(api: Api, group: str, resource: str, verb: str) -> bool:
    """The answer of a SelfSubjectAccessReview, which the server keeps nowhere."""
    name, _, subresource = resource.partition("/")
    attributes = {"group": group.rpartition("/")[0], "resource": name, "subresource": subresource, "verb": verb}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
              "spec": {"resourceAttributes": attributes}}
    said = api.request("POST", path("authorization.k8s.io/v1", "selfsubjectaccessreviews"), review)
    return bool(said["status"].get("allowed"))
