"""Owns the model gateway of a cluster: what a host's consists of, as the containers of one pod, and a door before it.
It must not know how a sandbox gets there, and never sees a key's value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from pifleet.content import role_file
from pifleet.desired import gateway
from pifleet.fleet import ETC, KUBE_LABEL, LOGS, PROGRAMS, ROOT, RUN, Model, Sandbox
from pifleet.patterns.pod import namespace
from pifleet.patterns.pod.box import PASSAGE
from pifleet.patterns.pod.namespace import GATEWAY, GATEWAY_LABEL, GATEWAY_PORT
from pifleet.patterns.pod.objects import FROM, Entry, Json, Place, container, limits, manifest, pod

KEYS, TOKENS, PROGRAM_MAP = "gateway-keys", "gateway-tokens", "gateway-programs"
TOKEN_FOLDER = "/run/tokens"  # noqa: S105  a folder
FOLDER = ETC / "gateway"
# nginx's configuration as a host has it, and in the pod, where it is put together from its parts.
CONF, WHOLE = FOLDER / "nginx.conf", str(RUN / "nginx.conf")
PART_BYTES = 900_000
CPUS, MEMORY = 2.0, 512 << 20
# Answers on their way are let out before the old one of two goes.
DRAIN_SECONDS = 600
OPEN = str(RUN / "door")
WAIT = ["sh", "-c", f"while [ -e {OPEN} ]; do sleep 0.2; done"]
DNS_PORT = 53


def of_gateway(place: Place, boxes: Sequence[Sandbox]) -> Iterator[Entry]:
    """pifleet's own namespace with the gateway for `boxes`, all of a cluster's sandboxes."""
    models = [place.fleet.models[name] for name in sorted({name for box in boxes for name in box.models})]
    yield from namespace.namespace(place)
    yield Entry(manifest(place, "NetworkPolicy", GATEWAY, spec={
        "podSelector": {"matchLabels": GATEWAY_LABEL}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"namespaceSelector": namespace.of_this_fleet(place)}],
                     "ports": [{"port": GATEWAY_PORT, "protocol": "TCP"}]}],
        "egress": _ways_out(models)}))
    yield Entry(manifest(place, "ServiceAccount", GATEWAY, automountServiceAccountToken=False))
    yield Entry(manifest(place, "Secret", TOKENS, type="Opaque"), values={box.id: {"token": box.id} for box in boxes})
    yield Entry(manifest(place, "Secret", KEYS, type="Opaque"), values=_keys(models))
    files = {PurePosixPath(file["path"]): str(file["content"]) for file in gateway.files(models, boxes)}
    yield Entry(manifest(place, "ConfigMap", PROGRAM_MAP, data={
        **{path.name: text for path, text in files.items() if path.parent == PROGRAMS},
        PASSAGE: role_file("cluster", PASSAGE)}))
    yield Entry(manifest(place, "ConfigMap", GATEWAY, data={
        path.name: text for path, text in files.items() if path.parent == FOLDER / "ca"}))
    parts = _parts(files[CONF])
    for number, part in enumerate(parts):
        yield Entry(manifest(place, "ConfigMap", f"{GATEWAY}-{number}", data={"part": part}))
    yield Entry(manifest(place, "Service", GATEWAY, spec={
        "type": "ClusterIP", "selector": GATEWAY_LABEL, "externalIPs": [],
        "ports": [{"name": "model", "port": GATEWAY_PORT, "targetPort": GATEWAY_PORT, "protocol": "TCP"}]}))
    yield Entry(manifest(place, "Deployment", GATEWAY, spec=_deployment(place, models, boxes, len(parts))))


def _keys(models: Sequence[Model]) -> dict[str, Json]:
    return {PurePosixPath(one["path"]).name: {"secret": one["secret"], "template": one["template"]}
            for one in gateway.secrets(models)}


def _parts(text: str) -> list[str]:
    """A text in pieces of which each fits into a ConfigMap (at most 1 MiB, its documentation says)."""
    parts, size = [[]], 0  # type: ignore[var-annotated]
    for line in text.splitlines(keepends=True):
        if size + len(line.encode()) > PART_BYTES:
            parts, size = [*parts, []], 0
        parts[-1].append(line)
        size += len(line.encode())
    return ["".join(lines) for lines in parts]


def _ways_out(models: Sequence[Model]) -> list[Json]:
    """Names, and the ports of models; which addresses these have nobody can say in a policy."""
    ports = {_port(model.proxy or model.base_url) for model in models if not model.scripted}
    dns = [{"port": DNS_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return [{"ports": [*dns, *({"port": port, "protocol": "TCP"} for port in sorted(ports))]}]


def _port(url: str) -> int:
    split = urlsplit(url)
    return split.port or (443 if split.scheme == "https" else 80)


def _deployment(place: Place, models: Sequence[Model], boxes: Sequence[Sandbox], parts: int) -> Json:
    labels = {**place.labels(), **GATEWAY_LABEL}
    keys = f"Secret {place.namespace}/{KEYS}"
    return {
        "replicas": 1, "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": labels, "annotations": {
                f"{KUBE_LABEL}configuration": gateway.config_id(models, boxes),
                # nginx reads keys when it starts.
                f"{KUBE_LABEL}keys": {FROM: [keys, "metadata", "resourceVersion"]}}},
            "spec": _pod(place, models, boxes, parts),
        },
    }


def _pod(place: Place, models: Sequence[Model], boxes: Sequence[Sandbox], parts: int) -> Json:
    image = place.cluster.gateway_image or place.fleet.image.gateway_name
    state = [{"name": "state", "mountPath": str(path), "subPath": path.parent.name} for path in (ROOT, RUN, LOGS)]
    programs = {"name": "programs", "mountPath": str(PROGRAMS), "readOnly": True}
    config = {"name": "config", "mountPath": str(FOLDER), "readOnly": True}
    small = limits(0.5, 128 << 20, 10)
    folders = [str(entry["path"]) for entry in gateway.dirs(models) if ROOT in PurePosixPath(entry["path"]).parents]
    folders += [str(box.model_socket.parent) for box in boxes]
    pieces = {"name": "parts", "mountPath": "/run/parts", "readOnly": True}
    made = container("folders", image, ["sh", "-c", f'cat /run/parts/* > {WHOLE}; mkdir -p "$@"', "folders", *folders],
                     resources=small, volumeMounts=[*state, pieces])
    running = [
        container(service["name"].removeprefix("pifleet-"), image,
                  [WHOLE if word == str(CONF) else word for word in service["argv"]],
                  resources=limits(CPUS, MEMORY, 10) if service["name"] == gateway.GATEWAY else small,
                  volumeMounts=[*state, programs, config], lifecycle={"preStop": {"exec": {"command": WAIT}}})
        for service in gateway.services(models)
    ]
    door = container(
        "door", image,
        ["python3", "-I", str(PROGRAMS / PASSAGE), "enter", "--port", str(GATEWAY_PORT), "--tokens", TOKEN_FOLDER,
         "--sandboxes", str(ROOT / "sandboxes"), "--open", OPEN],
        resources=small, ports=[{"name": "model", "containerPort": GATEWAY_PORT, "protocol": "TCP"}],
        readinessProbe={"tcpSocket": {"port": GATEWAY_PORT}, "periodSeconds": 2},
        volumeMounts=[*state, programs, {"name": "tokens", "mountPath": TOKEN_FOLDER, "readOnly": True}])
    ca_items = [{"key": f"{model.name}.pem", "path": f"ca/{model.name}.pem"} for model in models if model.ca]
    part_maps = [{"configMap": {"name": f"{GATEWAY}-{number}", "items": [{"key": "part", "path": f"{number:03}"}]}}
                 for number in range(parts)]
    key_items = [{"key": name, "path": f"keys/{name}"} for name in _keys(models)]
    return pod(
        place, GATEWAY, initContainers=[made], containers=[*running, door],
        # The keeper of the log tells nginx to open it anew.
        shareProcessNamespace=True, terminationGracePeriodSeconds=DRAIN_SECONDS,
        volumes=[
            {"name": "programs", "configMap": {"name": PROGRAM_MAP, "defaultMode": 0o555}},
            {"name": "config", "projected": {"defaultMode": 0o440, "sources": [
                {"configMap": {"name": GATEWAY, "items": ca_items}}, {"secret": {"name": KEYS, "items": key_items}}]}},
            {"name": "parts", "projected": {"defaultMode": 0o440, "sources": part_maps}},
            {"name": "tokens", "secret": {"secretName": TOKENS, "defaultMode": 0o440}},
            {"name": "state", "emptyDir": {"sizeLimit": "2Gi"}},
        ])
