"""A NetworkPolicy enforcer for tests that need one: what each policy means, as rules of nftables.

Owns one table of the cluster's own network namespace; it shows what a policy says, not how some cluster's plugin is.
"""

import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.cluster.api import Api
from tests.lab.cluster.selection import Pod, pods, port_matches, selects
from tests.lab.cluster.tables import follow

PODS, NAMESPACES = "/api/v1/pods", "/api/v1/namespaces"
POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
TABLE = "pifleet_policies"
NONE = f"add table ip {TABLE}\ndelete table ip {TABLE}\n"
# For each direction: the key of its peers, the field that holds this pod, the field that holds the peer.
DIRECTIONS = {"Ingress": ("from", "daddr", "saddr"), "Egress": ("to", "saddr", "daddr")}


@dataclass(frozen=True)
class World:
    """What there is: pods, the labels of namespaces, and the policies."""

    pods: list[Pod]
    namespaces: dict[str, dict[str, str]]
    policies: list[dict[str, Any]]

    def over(self, pod: Pod, direction: str) -> list[dict[str, Any]]:
        """The policies that hold for a pod in one direction."""
        return [
            policy for policy in self.policies
            if policy["metadata"]["namespace"] == pod.namespace
            and direction in policy["spec"]["policyTypes"]
            and selects(policy["spec"].get("podSelector", {}), pod.labels)
        ]

    def matches(self, peer: dict[str, Any], own: str, field: str) -> Iterator[str]:
        """A match of nftables for each address that a peer of a policy in namespace `own` stands for."""
        if block := peer.get("ipBlock"):
            but = f" ip {field} != {{ {', '.join(block['except'])} }}" if block.get("except") else ""
            yield f"ip {field} {block['cidr']}{but}"
            return
        for pod in self.pods:
            chosen = peer.get("namespaceSelector")
            near = pod.namespace == own if chosen is None else selects(chosen, self.namespaces.get(pod.namespace, {}))
            if near and selects(peer.get("podSelector", {}), pod.labels):
                yield f"ip {field} {pod.address}"

    def allowed(self, pod: Pod, direction: str) -> Iterator[str]:
        """The matches of everything that the policies over a pod let through."""
        peers, _, field = DIRECTIONS[direction]
        for policy in self.over(pod, direction):
            own = policy["metadata"]["namespace"]
            for rule in policy["spec"].get(direction.lower()) or []:
                # Without a list everything is meant, by an empty match.
                who = flat(self.matches(peer, own, field) for peer in rule[peers]) if rule.get(peers) else [""]
                what = flat(port_matches(port, pod) for port in rule["ports"]) if rule.get("ports") else [""]
                yield from (f"{one} {other}".strip() for one in who for other in what)


def flat(parts: Iterable[Iterable[str]]) -> list[str]:
    return list(itertools.chain.from_iterable(parts))


def table(world: World) -> str:
    """The whole table: replies pass, and of a pod under a policy only what some policy allows; the node may do all."""
    chains: list[str] = []
    jumps: dict[str, list[str]] = {direction: [] for direction in DIRECTIONS}
    for index, pod in enumerate(world.pods):
        for direction, (_, own, _) in DIRECTIONS.items():
            if world.over(pod, direction):
                name = f"{direction.lower()}_{index}"
                rules = [f"{match} return" for match in world.allowed(pod, direction)]
                chains += [f"chain {name} {{", *rules, "drop", "}"]
                jumps[direction].append(f"ip {own} {pod.address} jump {name}")
    hook = "type filter hook {} priority filter; ct state established,related accept"
    return NONE + "\n".join([
        f"table ip {TABLE} {{", *chains,
        "chain between {", hook.format("forward"), *jumps["Egress"], *jumps["Ingress"], "}",
        "chain node {", hook.format("input"), *jumps["Egress"], "}", "}", "",
    ])


def look(api: Api) -> World:
    namespaces = {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in api.items(NAMESPACES)}
    return World(pods(api.items(PODS)), namespaces, api.items(POLICIES))


if __name__ == "__main__":
    follow(Path(sys.argv[1]), "policies", (PODS, NAMESPACES, POLICIES), lambda api: table(look(api)))
