"""Owns the model gateway of a cluster: what a host's consists of, as the containers of one pod behind a door.
It must not know how a sandbox gets there, and never sees a key's value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from pifleet.content import role_file
from pifleet.desired import gateway
from pifleet.fleet import ETC, PROGRAMS, ROOT, RUN, Model, Sandbox, digest
from pifleet.patterns.pod import door
from pifleet.patterns.pod.box import PASSAGE
from pifleet.patterns.pod.namespace import GATEWAY, GATEWAY_LABEL, GATEWAY_PORT
from pifleet.patterns.pod.objects import FROM, Entry, Json, Place, container, limits, manifest, pod

KEYS, PROGRAM_MAP = "gateway-keys", "gateway-programs"
FOLDER = ETC / "gateway"
# nginx's configuration as a host has it, and in the pod, where it is put together from its parts.
CONF, WHOLE = FOLDER / "nginx.conf", str(RUN / "nginx.conf")
CPUS, MEMORY = 2.0, 512 << 20


def of_gateway(place: Place, boxes: Sequence[Sandbox]) -> Iterator[Entry]:
    """The model gateway for `boxes`, all of a cluster's sandboxes."""
    models = [place.fleet.models[name] for name in sorted({name for box in boxes for name in box.models})]
    yield from door.reached(place, GATEWAY, GATEWAY_LABEL, "model", GATEWAY_PORT, _ways_out(models))
    yield Entry(manifest(place, "Secret", KEYS, type="Opaque"), values=_keys(models))
    files = {PurePosixPath(file["path"]): str(file["content"]) for file in gateway.files(models, boxes)}
    yield Entry(manifest(place, "ConfigMap", PROGRAM_MAP, data={
        **{path.name: text for path, text in files.items() if path.parent == PROGRAMS},
        PASSAGE: role_file("cluster", PASSAGE)}))
    yield Entry(manifest(place, "ConfigMap", GATEWAY, data={
        path.name: text for path, text in files.items() if path.parent == FOLDER / "ca"}))
    parts = door.parts_of(files[CONF])
    yield from door.in_parts(place, GATEWAY, parts)
    annotations = {
        "configuration": digest(*parts)[:16],
        # nginx reads keys when it starts.
        "keys": {FROM: [f"Secret {place.namespace}/{KEYS}", "metadata", "resourceVersion"]},
    }
    yield Entry(manifest(place, "Deployment", GATEWAY, spec=door.deployment(
        place, GATEWAY_LABEL, annotations, _pod(place, models, boxes, len(parts)))))


def _keys(models: Sequence[Model]) -> dict[str, Json]:
    return {PurePosixPath(one["path"]).name: {"secret": one["secret"], "template": one["template"]}
            for one in gateway.secrets(models)}


def _ways_out(models: Sequence[Model]) -> list[Json]:
    """Names, and the ports of models; which addresses these have nobody can say in a policy."""
    ports = {_port(model.proxy or model.base_url) for model in models if not model.scripted}
    return [{"ports": [*door.DNS, *({"port": port, "protocol": "TCP"} for port in sorted(ports))]}]


def _port(url: str) -> int:
    split = urlsplit(url)
    return split.port or (443 if split.scheme == "https" else 80)


def _pod(place: Place, models: Sequence[Model], boxes: Sequence[Sandbox], parts: int) -> Json:
    image = place.cluster.gateway_image or place.fleet.image.gateway_name
    config = {"name": "config", "mountPath": str(FOLDER), "readOnly": True}
    folders = [str(entry["path"]) for entry in gateway.dirs(models) if ROOT in PurePosixPath(entry["path"]).parents]
    folders += [str(box.model_socket.parent) for box in boxes]
    running = [
        container(service["name"].removeprefix("pifleet-"), image,
                  [WHOLE if word == str(CONF) else word for word in service["argv"]],
                  resources=limits(CPUS, MEMORY, 10) if service["name"] == gateway.GATEWAY else door.SMALL,
                  volumeMounts=[*door.STATE, door.PROGRAM_FILES, config], **door.STAYS)
        for service in gateway.services(models)
    ]
    ca_items = [{"key": f"{model.name}.pem", "path": f"ca/{model.name}.pem"} for model in models if model.ca]
    key_items = [{"key": name, "path": f"keys/{name}"} for name in _keys(models)]
    return pod(
        place, GATEWAY, initContainers=[door.made(image, WHOLE, folders)],
        containers=[*running, door.door(image, "model", GATEWAY_PORT)],
        # The keeper of the log tells nginx to open it anew.
        shareProcessNamespace=True, terminationGracePeriodSeconds=door.DRAIN_SECONDS,
        volumes=[
            *door.volumes(PROGRAM_MAP, GATEWAY, parts),
            {"name": "config", "projected": {"defaultMode": 0o440, "sources": [
                {"configMap": {"name": GATEWAY, "items": ca_items}}, {"secret": {"name": KEYS, "items": key_items}}]}},
        ])
