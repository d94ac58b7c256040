"""Owns what stands before each thing that serves a cluster's sandboxes, a door that asks for their tokens, and how the
next one takes over: nobody inside is cut off. It must not know what is served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pifleet.fleet import KUBE_LABEL, LOGS, PROGRAMS, ROOT, RUN, Sandbox
from pifleet.patterns.pod import namespace
from pifleet.patterns.pod.box import PASSAGE
from pifleet.patterns.pod.objects import Entry, Json, Place, container, limits, manifest

TOKENS = "gateway-tokens"
TOKEN_FOLDER = "/run/tokens"  # noqa: S105  a folder
PART_BYTES = 900_000
# Answers on their way are let out before the old one of two goes.
DRAIN_SECONDS = 600
OPEN = str(RUN / "door")
WAIT = ["sh", "-c", f"while [ -e {OPEN} ]; do sleep 0.2; done"]
# Of every container behind a door: it goes when the last one inside has left.
STAYS: Json = {"lifecycle": {"preStop": {"exec": {"command": WAIT}}}}
SMALL = limits(0.5, 128 << 20, 10)
STATE = [{"name": "state", "mountPath": str(path), "subPath": path.parent.name} for path in (ROOT, RUN, LOGS)]
PROGRAM_FILES = {"name": "programs", "mountPath": str(PROGRAMS), "readOnly": True}
PARTS = {"name": "parts", "mountPath": "/run/parts", "readOnly": True}
DNS_PORT = 53
DNS = [{"port": DNS_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]


def behind(place: Place, boxes: Sequence[Sandbox]) -> Iterator[Entry]:
    """pifleet's own namespace, and the tokens of `boxes`, all of a cluster's sandboxes."""
    yield from namespace.namespace(place)
    yield Entry(manifest(place, "Secret", TOKENS, type="Opaque"), values={box.id: {"token": box.id} for box in boxes})


def door(image: str, kind: str, port: int) -> Json:
    """The container that lets in who shows its token, to the socket of this kind that is its own."""
    return container(
        "door", image,
        ["python3", "-I", str(PROGRAMS / PASSAGE), "enter", "--port", str(port), "--tokens", TOKEN_FOLDER,
         "--sandboxes", str(ROOT / "sandboxes"), "--open", OPEN],
        resources=SMALL, ports=[{"name": kind, "containerPort": port, "protocol": "TCP"}],
        readinessProbe={"tcpSocket": {"port": port}, "periodSeconds": 2},
        volumeMounts=[*STATE, PROGRAM_FILES, {"name": "tokens", "mountPath": TOKEN_FOLDER, "readOnly": True}])


def volumes(programs: str, name: str, count: int) -> list[Json]:
    """What every such pod has: its programs, its configuration in parts, the tokens, and a room of its own."""
    sources = [{"configMap": {"name": f"{name}-{number}", "items": [{"key": "part", "path": f"{number:03}"}]}}
               for number in range(count)]
    return [
        {"name": "programs", "configMap": {"name": programs, "defaultMode": 0o555}},
        {"name": "parts", "projected": {"defaultMode": 0o440, "sources": sources}},
        {"name": "tokens", "secret": {"secretName": TOKENS, "defaultMode": 0o440}},
        {"name": "state", "emptyDir": {"sizeLimit": "2Gi"}},
    ]


def made(image: str, whole: str, folders: Sequence[str]) -> Json:
    """The container that first puts the configuration together, and makes the folders in which sockets lie."""
    return container("folders", image, ["sh", "-c", f'cat /run/parts/* > {whole}; mkdir -p "$@"', "folders", *folders],
                     resources=SMALL, volumeMounts=[*STATE, PARTS])


def in_parts(place: Place, name: str, parts: Sequence[str]) -> Iterator[Entry]:
    """The parts of a configuration, each in a ConfigMap."""
    for number, part in enumerate(parts):
        yield Entry(manifest(place, "ConfigMap", f"{name}-{number}", data={"part": part}))


def parts_of(text: str) -> list[str]:
    """A text in pieces of which each fits into a ConfigMap (at most 1 MiB, its documentation says)."""
    parts, size = [[]], 0  # type: ignore[var-annotated]
    for line in text.splitlines(keepends=True):
        more = len(line.encode())
        if size + more > PART_BYTES:
            parts, size = [*parts, []], 0
        parts[-1].append(line)
        size += more
    return ["".join(lines) for lines in parts]


def reached(place: Place, name: str, label: Json, kind: str, port: int, ways_out: list[Json]) -> Iterator[Entry]:
    """Who may come in, where it may go, as whom it runs, and the address at which it is found."""
    yield Entry(manifest(place, "NetworkPolicy", name, spec={
        "podSelector": {"matchLabels": label}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"namespaceSelector": namespace.of_this_fleet(place)}],
                     "ports": [{"port": port, "protocol": "TCP"}]}],
        "egress": ways_out}))
    yield Entry(manifest(place, "ServiceAccount", name, automountServiceAccountToken=False))
    yield Entry(manifest(place, "Service", name, spec={
        "type": "ClusterIP", "selector": label, "externalIPs": [],
        "ports": [{"name": kind, "port": port, "targetPort": port, "protocol": "TCP"}]}))


def deployment(place: Place, label: Json, annotations: Json, spec: Json) -> Json:
    """One pod, whose next one runs before it goes; what differs in `annotations` makes a next one."""
    labels = {**place.labels(), **label}
    return {
        "replicas": 1, "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": labels,
                         "annotations": {f"{KUBE_LABEL}{name}": value for name, value in annotations.items()}},
            "spec": spec,
        },
    }
