"""Services reachable from pods: the address of each leads to one of its ready endpoints, by nftables.

Owns one table of the cluster's own network namespace; must not know what answers there.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.cluster.tables import follow

SERVICES, SLICES = "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"
TABLE = "pifleet_services"


def endpoints(service: dict[str, Any], port: dict[str, Any], slices: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """The ready addresses behind one port of a Service, each with the port there."""
    metadata = service["metadata"]
    return sorted({
        (address, behind["port"])
        for found in slices
        if found["metadata"]["namespace"] == metadata["namespace"]
        and found["metadata"].get("labels", {}).get("kubernetes.io/service-name") == metadata["name"]
        for behind in found.get("ports") or []
        if behind.get("name", "") == port.get("name", "")
        for endpoint in found.get("endpoints") or []
        if endpoint.get("conditions", {}).get("ready", True)
        for address in endpoint["addresses"]
    })


def rules(services: list[dict[str, Any]], slices: list[dict[str, Any]]) -> Iterator[str]:
    """One rule for each endpoint of each port: the first takes its share, the last takes the rest."""
    for service in services:
        address = service["spec"].get("clusterIP", "None")
        if address in ("", "None"):
            continue
        for port in service["spec"].get("ports", []):
            protocol = port.get("protocol", "TCP").lower()
            found = endpoints(service, port, slices)
            for index, (to, behind) in enumerate(found):
                left = len(found) - index
                share = f"numgen random mod {left} == 0 " if left > 1 else ""
                yield f"ip daddr {address} {protocol} dport {port['port']} {share}dnat to {to}:{behind}"


def table(services: list[dict[str, Any]], slices: list[dict[str, Any]]) -> str:
    """The whole table, in place of the one before; a pod reached by itself over a Service must not see its address."""
    pods = sorted({
        address for found in slices for endpoint in found.get("endpoints") or [] for address in endpoint["addresses"]
    })
    return "\n".join([
        f"add table ip {TABLE}", f"delete table ip {TABLE}", f"table ip {TABLE} {{",
        "chain to { type nat hook prerouting priority dstnat;", *rules(services, slices), "}",
        "chain from { type nat hook postrouting priority srcnat;",
        *(f"ip saddr {pod} ip daddr {pod} masquerade" for pod in pods), "}", "}", "",
    ])


if __name__ == "__main__":
    follow(Path(sys.argv[1]), "services", (SERVICES, SLICES), lambda api: table(api.items(SERVICES), api.items(SLICES)))
