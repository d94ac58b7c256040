"""Owns one look at a cluster: one LIST of each kind by label, and a question inside only where no list can tell.
It must not judge what was seen or change anything; no value of a Secret leaves it but as a keyed hash."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pifleet.fleet import KUBE_LABEL, Host
from pifleet.kube import own, within
from pifleet.kube.client import MANAGER, Api, ApiRefused, Json, path
from pifleet.kube.nodes import images, memory, user_namespaces
from pifleet.kube.pods import OWNER, container_of, state_of, titles_of, trouble_of, waits_for
from pifleet.kube.warnings import warning
from pifleet.patterns.pod.fields import differences
from pifleet.patterns.pod.objects import key_of
from pifleet.threads import side_by_side

OURS = {
    "ResourceQuota": ("v1", "resourcequotas"), "LimitRange": ("v1", "limitranges"),
    "ServiceAccount": ("v1", "serviceaccounts"), "Secret": ("v1", "secrets"), "ConfigMap": ("v1", "configmaps"),
    "Service": ("v1", "services"), "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "Role": ("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings"), "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
}
CLASSES = {"storage": ("storage.k8s.io/v1", "storageclasses"), "runtime": ("node.k8s.io/v1", "runtimeclasses"),
           "priority": ("scheduling.k8s.io/v1", "priorityclasses")}
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
# By the DaemonSets that each brings to every node (their own installation guides); what is not here is not known.
ENFORCERS = {"calico-node": "Calico", "canal": "Canal", "cilium": "Cilium", "antrea-agent": "Antrea",
             "kube-router": "kube-router", "weave-net": "Weave Net", "anetd": "GKE Dataplane V2",
             "azure-npm": "Azure NPM", "ovnkube-node": "OVN-Kubernetes"}
ASKED_AT_ONCE = 16


def look(host: Host, spec: Mapping[str, Any], nonce: str) -> Json:
    """What there is of a fleet on a cluster, in the sections of `pifleet.observe.SHAPE` that a cluster has, and
    `cluster`; of who may not list namespaces only their own. Raises HostFailed."""
    label = f"app.kubernetes.io/managed-by=pifleet,{KUBE_LABEL}fleet={spec['fleet']}"
    with Api(host) as api:
        version = api.request("GET", "/version")
        system = {"id": "kubernetes", "version": version["gitVersion"]}
        try:
            namespaces = {one["metadata"]["name"]: one for one in api.listed(path("v1", "namespaces"))}
        except ApiRefused as error:
            if error.code != own.FORBIDDEN:
                raise
            return {"os": system, "cluster": own.look(api, version["gitVersion"], spec["cluster"]["sandboxes"])}
        objects = {f"Namespace {name}": _stripped(one, "Namespace", "v1") for name, one in namespaces.items()
                   if _is_ours(one, spec["fleet"])}
        for kind, (group, resource) in OURS.items():
            for one in api.listed(path(group, resource), labelSelector=label):
                objects[f"{kind} {_place(one)}"] = _stripped(one, kind, group, nonce)
        pods = {_place(one): one for one in api.listed(path("v1", "pods"), labelSelector=label)}
        claims = api.listed(path("v1", "persistentvolumeclaims"), labelSelector=label)
        nodes = list(_if_allowed(api, "v1", "nodes"))
        classes = {kind: list(_if_allowed(api, group, resource)) for kind, (group, resource) in CLASSES.items()}
        daemons = _if_allowed(api, "apps/v1", "daemonsets")
        return {
            "os": system,
            "memory": memory(nodes),
            "foreign": list(_foreign(spec, namespaces)),
            "cluster": {
                "version": version["gitVersion"],
                "objects": objects,
                "titles": titles_of(objects),
                "pods": {**_missing(api, spec, objects, pods), **_pods(host, spec, objects, pods)},
                "claims": {_place(one): one["spec"]["resources"]["requests"]["storage"] for one in claims},
                "repos": within.repos(api, spec["cluster"]["sandboxes"], objects, pods),
                "classes": _names(classes),
                "images": images(nodes),
                "user_namespaces": user_namespaces(nodes, host, classes["runtime"]),
                "enforcer": next((ENFORCERS[name] for one in daemons if (name := one["metadata"]["name"]) in ENFORCERS),
                                 ""),
                "own": False,
                "hidden": [],
            },
        }


def _place(one: Json) -> str:
    return f"{one['metadata']['namespace']}/{one['metadata']['name']}"


def _stripped(one: Json, kind: str, group: str, nonce: str = "") -> Json:
    """An object of a list, as it stands alone but for what only the server has to know; values of a Secret as HMAC
    under `nonce`."""
    metadata = {key: value for key, value in one["metadata"].items() if key != "managedFields"}
    metadata["changed"] = max((str(each.get("time", "")) for each in one["metadata"].get("managedFields") or ()),
                              default="")
    kept = {**one, "apiVersion": group, "kind": kind, "metadata": metadata}
    kept.pop("status", None)
    if kind == "Secret":
        kept["data"] = {name: hmac.new(nonce.encode(), base64.b64decode(value), hashlib.sha256).hexdigest()
                        for name, value in (one.get("data") or {}).items()}
    return kept


def _is_ours(namespace: Json, fleet: str) -> bool:
    """By its label, or where somebody took that off, by who made it."""
    metadata = namespace["metadata"]
    labelled = (metadata.get("labels") or {}).get(f"{KUBE_LABEL}fleet")
    made = any(one.get("manager") == MANAGER for one in metadata.get("managedFields") or ())
    return bool(labelled == fleet or (labelled is None and made))


def _foreign(spec: Mapping[str, Any], namespaces: Mapping[str, Json]) -> Iterator[str]:
    for entry in spec["cluster"]["objects"]:
        name = entry["object"]["metadata"]["name"]
        if entry["object"]["kind"] == "Namespace" and name in namespaces and not _is_ours(
                namespaces[name], spec["fleet"]):
            yield f"namespace {name} is not of fleet {spec['fleet']}"


def _if_allowed(api: Api, group: str, resource: str) -> Iterator[Json]:
    """What belongs to the cluster and not to us, which an operator need not be allowed to see."""
    try:
        yield from api.listed(path(group, resource))
    except ApiRefused as error:
        if error.code != own.FORBIDDEN:
            raise


def _names(classes: Mapping[str, Sequence[Json]]) -> Json:
    default = [one for one in classes["storage"]
               if (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"]
    names: Json = {kind: [one["metadata"]["name"] for one in there] for kind, there in classes.items()}
    return {**names, "default": default[0]["metadata"]["name"] if default else ""}


def _pods(host: Host, spec: Mapping[str, Any], objects: Mapping[str, Json], pods: Mapping[str, Json]) -> Json:
    """Each pod by its name. Whether pi is at work in one is asked inside where it might be ended: it is not wanted as
    it is, or not at all."""
    wanted = {key_of(entry["object"]): entry["object"] for entry in spec["cluster"]["objects"]}

    def told(name: str) -> tuple[str, Json]:
        one, owner = pods[name], f"StatefulSet {name.rpartition('-')[0]}"
        found = state_of(OWNER, one)
        why = "" if found == "running" else trouble_of(one) or waits_for(one)
        agent: Json | None = None if found in ("running", "unknown") else {}
        stays = owner in wanted and owner in objects and not any(
            path.startswith("spec.template") for path in differences(wanted[owner], objects[owner], objects))
        if found == "running" and owner in objects and not stays:
            agent = within.agent(host, name)
        return name, {"state": found, "why": why, "image": container_of(one, "pi").get("image"), "agent": agent}

    return dict(side_by_side(list(pods), told, ASKED_AT_ONCE))


def _missing(
    api: Api, spec: Mapping[str, Any], objects: Mapping[str, Json], pods: Mapping[str, Json]
) -> dict[str, Json]:
    """Pods that are not there although their StatefulSet wants them, where the cluster tells why it makes none."""
    found: dict[str, Json] = {}
    for box in spec["cluster"]["sandboxes"]:
        name = f"{box['namespace']}/{box['pod']}"
        owner = objects.get(f"StatefulSet {box['namespace']}/{box['container']}")
        wanted = name not in pods and owner and owner["spec"].get("replicas", 1)
        if wanted and (why := warning(api, box["namespace"], box["pod"])):
            found[name] = {"state": "missing", "why": why, "image": None, "agent": {}}
    return found
