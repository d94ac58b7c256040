"""Owns the egress proxy of a cluster: a host's squid and the nginx before it, as the containers of a pod behind a door.
It must not know how a sandbox gets there; what a host's kernel refuses squid, a network policy does here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pifleet.content import role_file
from pifleet.desired import egress
from pifleet.egress import NEVER4, PRIVATE4
from pifleet.fleet import PROGRAMS, RUN, Sandbox, digest
from pifleet.patterns.pod import door
from pifleet.patterns.pod.box import PASSAGE
from pifleet.patterns.pod.namespace import EGRESS, EGRESS_LABEL, EGRESS_PORT
from pifleet.patterns.pod.objects import Entry, Json, Place, container, limits, manifest, pod

PROGRAM_MAP = "egress-programs"
FRONT, WHOLE = "front.conf", str(RUN / "squid.conf")
# Nobody in this pod is root, so nobody listens on a host's; and nobody else is in it.
SQUID_PORT = 8120
CPUS, MEMORY = 1.0, 256 << 20
LISTENS = ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{SQUID_PORT}"]


def of_proxy(place: Place, boxes: Sequence[Sandbox]) -> Iterator[Entry]:
    """The egress proxy for `boxes`, all of a cluster's sandboxes; one with an empty list is refused everything."""
    yield from door.reached(place, EGRESS, EGRESS_LABEL, "egress", EGRESS_PORT, _ways_out(boxes))
    yield Entry(manifest(place, "ConfigMap", PROGRAM_MAP, data={
        "gateway": role_file("model_gateway", "gateway"), "egress_log": role_file(egress.PART, "egress_log"),
        PASSAGE: role_file("cluster", PASSAGE)}))
    front, squid = egress.front_conf(boxes, SQUID_PORT), egress.squid_conf(boxes, egress.NOT_SEEN, port=SQUID_PORT)
    yield Entry(manifest(place, "ConfigMap", EGRESS, data={
        FRONT: front, **{name: role_file(egress.PART, name) for name in egress.PAGES}}))
    parts = door.parts_of(squid)
    yield from door.in_parts(place, EGRESS, parts)
    annotations = {"configuration": digest(front, squid)[:16]}
    yield Entry(manifest(place, "Deployment", EGRESS, spec=door.deployment(
        place, EGRESS_LABEL, annotations, _pod(place, boxes, len(parts)))))


def _ways_out(boxes: Sequence[Sandbox]) -> list[Json]:
    """Names, and the ports that are listed: at public addresses, and at any other where something may be private."""
    every = [one for box in boxes for one in box.egress]

    def ways(refused: Sequence[str], *, private: bool) -> Json:
        ports = sorted({one.port for one in every if one.private is private})
        return {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": list(refused)}}],
                "ports": [{"port": port, "protocol": "TCP"} for port in ports]}

    found = [{"ports": door.DNS}, ways((*NEVER4, *PRIVATE4), private=False), ways(NEVER4, private=True)]
    return [one for one in found if one["ports"]]  # none would be all of them


def _pod(place: Place, boxes: Sequence[Sandbox], parts: int) -> Json:
    image = place.cluster.gateway_image or place.fleet.image.gateway_name
    config = {"name": "config", "mountPath": str(egress.FOLDER), "readOnly": True}
    pages = {"name": "config", "mountPath": str(egress.FOLDER / "pages"), "readOnly": True}
    folders = [str(egress.LOG), *(str(box.egress_socket.parent) for box in boxes)]
    squid = container(
        "squid", image, ["squid", "-N", "-f", WHOLE], resources=limits(CPUS, MEMORY, 10), workingDir="/",
        readinessProbe={"exec": {"command": LISTENS}, "periodSeconds": 2},
        volumeMounts=[*door.STATE, door.PROGRAM_FILES, pages], **door.STAYS)
    front = container(
        "front", image, [str(PROGRAMS / "gateway"), str(egress.FOLDER / FRONT)], resources=door.SMALL,
        volumeMounts=[*door.STATE, door.PROGRAM_FILES, config], **door.STAYS)
    return pod(
        place, EGRESS, initContainers=[door.made(image, WHOLE, folders)],
        containers=[squid, front, door.door(image, "egress", EGRESS_PORT)],
        terminationGracePeriodSeconds=door.DRAIN_SECONDS,
        volumes=[*door.volumes(PROGRAM_MAP, EGRESS, parts),
                 {"name": "config", "configMap": {"name": EGRESS, "defaultMode": 0o444}}])
