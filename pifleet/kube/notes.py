"""Owns fetching what a cluster's egress proxy has noted of one sandbox, from each of its pods.
It must not know what stands in a note."""

from __future__ import annotations

from pifleet.errors import HostFailed
from pifleet.fleet import Host, Sandbox
from pifleet.kube.client import Api, path
from pifleet.kube.exec import Pod
from pifleet.kube.said import said
from pifleet.patterns.pod.namespace import EGRESS, EGRESS_LABEL


def notes(host: Host, box: Sandbox, log: str, most: int) -> str:
    """What its file `log` and the one before it say, as far as the proxy's pods live. Raises HostFailed."""
    assert host.cluster
    namespace = host.cluster.own_namespace
    chosen = ",".join(f"{name}={value}" for name, value in EGRESS_LABEL.items())
    with Api(host) as api:
        pods = [one["metadata"]["name"] for one in api.listed(path("v1", "pods", namespace), labelSelector=chosen)]
    # A sandbox that has asked for nothing has no file.
    script = 'for one; do [ ! -e "$one" ] || cat "$one"; done'
    told = [said(host, Pod(namespace, name, "squid"), ["sh", "-c", script, EGRESS, f"{log}.1", log], most)
            for name in pods]
    if not any(one is not None for one in told):
        raise HostFailed(f"{host.name}: its egress proxy does not tell what {box.title} asked for",
                         try_=f"pifleet plan --limit {host.name}")
    return "".join(filter(None, told))
