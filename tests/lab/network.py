"""One lab's own bridge.

Owns the choice of addresses; must not know which machine gets which.
"""

import hashlib
import ipaddress
import json
import re
from pathlib import Path

from tests.lab.engine import LabError, docker, run

# Outside 172.16/12, where the engines inside the hosts take theirs, and outside 10.200.0/24, which OpenShell sandboxes
# have for themselves.
POOL = ipaddress.IPv4Network("10.202.0.0/15")
UNREACHABLE_METRIC = "4278198272"


def name_of(lab: str) -> str:
    return f"pifleet-lab-{lab}"


def ensure(lab: str) -> ipaddress.IPv4Network:
    """Have the lab's bridge and give its subnet back."""
    if not docker("network", "ls", "--quiet", "--filter", f"name=^{name_of(lab)}$"):
        create(lab, free_subnet())
    subnet = subnet_of(lab)
    # A packet to a lab whose bridge is gone must die here, not leave by the default route.
    run(["ip", "route", "replace", "unreachable", subnet, "metric", UNREACHABLE_METRIC])
    return subnet


def create(lab: str, subnet: ipaddress.IPv4Network) -> None:
    bridge = "lab-" + hashlib.sha256(lab.encode()).hexdigest()[:8]
    options = [f"com.docker.network.bridge.name={bridge}", f"com.docker.network.driver.mtu={uplink_mtu()}"]
    docker(
        *("network", "create", "--label", f"pifleet.lab={lab}", "--subnet", subnet, "--gateway", subnet[1]),
        *(f"--opt={option}" for option in options),
        name_of(lab),
    )


def remove(lab: str) -> None:
    if docker("network", "ls", "--quiet", "--filter", f"name=^{name_of(lab)}$"):
        subnet = subnet_of(lab)
        docker("network", "rm", name_of(lab))
        run(["ip", "route", "del", "unreachable", subnet, "metric", UNREACHABLE_METRIC], check=False)


def subnet_of(lab: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(
        json.loads(docker("network", "inspect", name_of(lab)))[0]["IPAM"]["Config"][0]["Subnet"]
    )


def free_subnet() -> ipaddress.IPv4Network:
    """A /24 that no route of this machine touches."""
    routes = run(["ip", "-4", "route", "show", "table", "all"]).stdout
    used = [ipaddress.IPv4Network(found, strict=False) for found in re.findall(r"\b\d+(?:\.\d+){3}/\d+", routes)]
    for subnet in POOL.subnets(new_prefix=24):
        if not any(subnet.overlaps(other) for other in used):
            return subnet
    raise LabError(f"no free /24 in {POOL}: remove old labs with `python -m tests.lab --lab NAME down`")


def uplink_mtu() -> str:
    """The bridge must not promise more than the way out carries."""
    found = re.search(r"\bdev (\S+)", run(["ip", "-4", "route", "show", "default"]).stdout)
    return Path(f"/sys/class/net/{found[1]}/mtu").read_text().strip() if found else "1500"
