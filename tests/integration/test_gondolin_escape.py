"""Whatever root of a micro-VM tries to get to its host or its network is refused, and succeeds on the host itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pifleet.sandbox import escape_agent
from pifleet.sandbox.inside import ARGV, call
from pifleet.verify.found import SOCKETS
from pifleet.verify.targets import FORBIDDEN
from tests.integration.egress_place import EGRESS_DOOR, plain
from tests.integration.micro_farm import Micro
from tests.integration.outside import CLIENT, METADATA, OPEN, Outside, reached
from tests.integration.test_escape import NOT_EVERYWHERE, listen

Said = dict[str, dict[str, Any]]
REQUEST: dict[str, Any] = {
    "tcp": FORBIDDEN, "proxied": FORBIDDEN, "proxy": ("egress.pifleet.internal", 8101), "own": SOCKETS,
    "names": ["open.test"], "kinds": ["network", "machine"],
}
# A guest is its root's own: what these try is its own kernel, and nothing of the host is behind that.
OF_THE_GUEST = ("raw ", "a new ", "read /", "write /", "a file ", "block devices", "processes of others",
                "the memory of others")
ATTEMPTS = [name for name, _ in escape_agent.attempts(REQUEST) if not name.startswith(OF_THE_GUEST)]
# What a host with an engine has, so that the control reaches it here too.
DATA, BRIDGE = "/var/lib/docker/image", "172.17.0.1/32"
SOCKETS_OF_ENGINES = ("/run/docker.sock", "/run/containerd/containerd.sock")
ENGINE = """
import os, socket, sys, threading
def answer(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    door = socket.socket(socket.AF_UNIX)
    door.bind(path)
    door.listen()
    while True:
        door.accept()[0].close()
for path in sys.argv[1:]:
    threading.Thread(target=answer, args=(path,)).start()
"""
# Everything that closed the guest's network from inside, undone by its root.
REOPEN = "ip route replace default via 192.168.127.1; echo nameserver 192.168.127.1 > /etc/resolv.conf"
PORTS = (80, 443, 8443)


@pytest.fixture(scope="module")
def outside(micro: Micro) -> Iterator[Outside]:
    micro.repaired()
    made = Outside(micro.lab, micro.host)
    made.certificate()
    made.make()
    listen(made)
    made.start(micro.host, "lab-engine", ENGINE, *SOCKETS_OF_ENGINES)
    micro.sh(f"set -e; mkdir -p {DATA}; ip address replace {BRIDGE} dev lo")
    yield made
    micro.sh(f"systemctl stop lab-engine; rm -rf {DATA} {' '.join(SOCKETS_OF_ENGINES)}")
    micro.sh(f"ip address del {BRIDGE} dev lo")


@pytest.fixture(scope="module")
def tried(micro: Micro, outside: Outside) -> tuple[Said, Said]:
    """How each attempt ended in the micro-VM, and for root of the host."""
    request = call("escape", REQUEST).decode()
    confined = micro.pifleet("exec", "ana", "--", *ARGV, stdin=request)
    control = micro.host.inside(*ARGV, input=call("escape", {**REQUEST, "proxy": EGRESS_DOOR}).decode())
    return json.loads(confined.out)["attempts"], json.loads(control)["attempts"]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_no_way_out(tried: tuple[Said, Said], attempt: str) -> None:
    confined, control = tried
    there = control[attempt.replace("proxy to", "tcp to")]

    assert confined[attempt]["refused"], confined[attempt]["how"]
    assert not there["refused"] or attempt in NOT_EVERYWHERE, there["how"]


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("where", ["open.test", OPEN, METADATA, "the services", "the host"])
def test_root_of_the_guest_that_opens_its_network_again_reaches_nobody(
    micro: Micro, outside: Outside, where: str, port: int
) -> None:
    address = {"the services": outside.services.address, "the host": outside.host.address}.get(where, where)
    asked = json.dumps([[address, port], [plain("/")]])
    said = micro.pifleet("exec", "ana", "--", "sh", "-c", f'{REOPEN}; python3 -c "$0" "$1"', CLIENT, asked)

    assert reached(outside.reaches(address, port))
    assert said.out
    assert not reached(said.out)
