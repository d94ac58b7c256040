"""Owns what one sandbox is on a cluster: its token, the files it reads, and the StatefulSet of one pod with its work.
It must not know the namespace around it, or what answers at the gateway."""

from __future__ import annotations

from collections.abc import Iterator

from pifleet import content
from pifleet.desired import egress, inside, pi
from pifleet.fleet import KUBE_LABEL, PROGRAMS, Sandbox
from pifleet.patterns.pod.namespace import (
    EGRESS,
    EGRESS_PORT,
    GATEWAY,
    GATEWAY_PORT,
    HOME_BYTES,
    SANDBOX_ACCOUNT,
    WAY_CPUS,
    WAY_MEMORY,
)
from pifleet.patterns.pod.objects import FROM, POD_PART, UID, Entry, Json, Place, container, limits, manifest, pod

PI, WAY = "pi", "way"
# What each socket leads to. The names no resolver has to know: the pod's own hosts file has them.
WAYS = {"model": (GATEWAY, "gateway.pifleet", GATEWAY_PORT), "egress": (EGRESS, "egress.pifleet", EGRESS_PORT)}
PASSAGE = "passage"
TOKEN_FOLDER = "/run/token"  # noqa: S105  a folder
GRACE_SECONDS = 30
# Cores that a sandbox may use are not set aside whole: agents mostly wait for their model.
CPU_SHARE = 10
# The kubelet's way to tell us that the repositories are there, without anybody entering the sandbox. Which these are it
# reads from a file, since another command would be another pod.
REPOS = "repos"
READY = ('while read -r one; do [ -e "/workspace/$one/.git" ] || { echo "$one is not there"; exit 1; }; done '
         f"< {inside.ETC}/{REPOS}")


def of_sandbox(place: Place, box: Sandbox) -> Iterator[Entry]:
    """Everything of one sandbox, in the order of making it."""
    models = [place.fleet.models[name] for name in box.models]
    files = {**inside.files(box, UID, models, egress.NOT_SEEN), PASSAGE: content.role_file("cluster", PASSAGE),
             REPOS: "".join(f"{name}\n" for name in box.repos)}
    yield Entry(manifest(place, "Secret", box.container, box, type="Opaque"), POD_PART, box.title,
                {"token": {"token": box.id}})
    yield Entry(manifest(place, "ConfigMap", box.container, box, data=files), POD_PART, box.title)
    yield Entry(manifest(place, "StatefulSet", box.container, box, spec=_spec(place, box)), POD_PART, box.title)


def entry(place: Place, box: Sandbox) -> Json:
    """The sandbox in a spec: where it is, and the repositories it starts with."""
    return {
        "id": box.id, "title": box.title, "namespace": place.namespace, "container": box.container, "pod": box.pod,
        "repos": [pi.repo_entry(place.fleet.repos[name]) for name in box.repos],
    }


def names(place: Place, box: Sandbox) -> list[str]:
    """All that is a sandbox's alone, its data among it, in the order in which it goes."""
    claims = [f"PersistentVolumeClaim {place.namespace}/{kind}-{box.pod}" for kind in ("workspace", "agent")]
    return [*(f"{kind} {place.namespace}/{box.container}" for kind in ("StatefulSet", "Secret", "ConfigMap")), *claims]


def _spec(place: Place, box: Sandbox) -> Json:
    labels = place.labels(box)
    return {
        "replicas": 1, "serviceName": box.container, "selector": {"matchLabels": labels},
        # Otherwise a pod that cannot run, or lacks a repository, would have to be ready before it is made anew.
        "podManagementPolicy": "Parallel",
        "template": {
            "metadata": {"labels": labels, "annotations": {f"{KUBE_LABEL}title": box.title,
                                                           "kubectl.kubernetes.io/default-container": PI}},
            "spec": _pod(place, box),
        },
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "volumeClaimTemplates": [_claim(place, box, "workspace", place.cluster.storage),
                                 _claim(place, box, "agent", HOME_BYTES)],
    }


def _pod(place: Place, box: Sandbox) -> Json:
    image = place.cluster.image or place.fleet.image.name
    aliases = [
        {"ip": {FROM: [f"Service {place.cluster.own_namespace}/{service}", "spec", "clusterIP"]}, "hostnames": [name]}
        for service, name, _ in WAYS.values()
    ]

    def mount(name: str, path: str, **more: object) -> Json:
        return {"name": name, "mountPath": path, **more}

    main = container(
        PI, image, [str(PROGRAMS / "keeper")], workingDir=inside.WORKSPACE,
        env=[{"name": name, "value": value} for name, value in inside.environment().items()],
        resources=limits(box.limits.cpus, box.limits.memory, CPU_SHARE),
        readinessProbe={"exec": {"command": ["sh", "-c", READY]}, "periodSeconds": 5},
        volumeMounts=[
            mount("workspace", inside.WORKSPACE), mount("agent", inside.HOME), mount("tmp", "/tmp"),  # noqa: S108
            mount("etc", inside.ETC, readOnly=True), mount("net", inside.NET, readOnly=True),
            *(mount("etc", f"/etc/{name}", subPath=name, readOnly=True) for name in ("passwd", "group")),
        ])
    way = container(
        WAY, image,
        ["python3", "-I", f"{inside.ETC}/{PASSAGE}", "leave",
         *(f"--to={kind}={name}:{port}" for kind, (_, name, port) in WAYS.items()),
         "--name", box.id, "--token", f"{TOKEN_FOLDER}/token", "--sockets", inside.NET],
        resources=limits(WAY_CPUS, WAY_MEMORY, CPU_SHARE),
        volumeMounts=[mount("etc", inside.ETC, readOnly=True), mount("net", inside.NET),
                      mount("token", TOKEN_FOLDER, readOnly=True)])
    return pod(
        place, SANDBOX_ACCOUNT, containers=[main, way], terminationGracePeriodSeconds=GRACE_SECONDS,
        # No name is looked up from inside: there is nowhere to look.
        dnsPolicy="None", dnsConfig={"nameservers": ["127.0.0.1"]},
        hostAliases=aliases, hostname=box.id,
        volumes=[
            {"name": "etc", "configMap": {"name": box.container, "defaultMode": 0o444}},
            {"name": "token", "secret": {"secretName": box.container, "defaultMode": 0o440}},
            {"name": "net", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": str(inside.TMP_BYTES)}},
        ])


def _claim(place: Place, box: Sandbox, name: str, size: int) -> Json:
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": str(size)}}}
    if place.cluster.storage_class:
        spec["storageClassName"] = place.cluster.storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec,
            "metadata": {"name": name, "labels": place.labels(box), "annotations": {f"{KUBE_LABEL}title": box.title}}}
