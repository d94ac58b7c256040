"""What a NetworkPolicy can ask about a pod, and whether a selector holds for it.

Owns the meaning of labels and ports in policies; must not know how a policy is enforced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pod:
    """What a policy can ask about a pod; `ports` are (name, protocol, number)."""

    namespace: str
    labels: dict[str, str]
    address: str
    ports: tuple[tuple[str, str, int], ...]


def pods(found: list[dict[str, Any]]) -> list[Pod]:
    """Every pod that has an address of its own."""
    return [
        Pod(pod["metadata"]["namespace"], pod["metadata"].get("labels", {}), pod["status"]["podIP"], named_ports(pod))
        for pod in found
        if pod["status"].get("podIP") and pod["status"]["phase"] in ("Pending", "Running")
        and not pod["spec"].get("hostNetwork")
    ]


def named_ports(pod: dict[str, Any]) -> tuple[tuple[str, str, int], ...]:
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    return tuple((port.get("name", ""), port.get("protocol", "TCP"), port["containerPort"]) for port in ports)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector holds; an empty one always does."""
    equal = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return equal and all(fulfils(wanted, labels) for wanted in selector.get("matchExpressions", []))


def fulfils(wanted: dict[str, Any], labels: dict[str, str]) -> bool:
    there, values = wanted["key"] in labels, wanted.get("values", [])
    match wanted["operator"]:
        case "In":
            return labels.get(wanted["key"]) in values
        case "NotIn":
            return labels.get(wanted["key"]) not in values
        case "Exists":
            return there
    return not there


def port_matches(port: dict[str, Any], pod: Pod) -> Iterator[str]:
    """A port of a rule; a name stands for what the pod under the policy calls so."""
    protocol, number = port.get("protocol", "TCP"), port.get("port")
    kind = protocol.lower()
    if number is None:
        yield f"meta l4proto {kind}"
    elif isinstance(number, int):
        yield f"{kind} dport {number}" + (f"-{port['endPort']}" if "endPort" in port else "")
    else:
        yield from (f"{kind} dport {own}" for name, spoken, own in pod.ports if (name, spoken) == (number, protocol))
