"""Whatever a process in a sandbox tries to get out of it is refused, and succeeds in the same run where nothing
confines: each attempt is a test, each has its control in a container of the same image on the same host."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pifleet.sandbox import escape_agent
from pifleet.sandbox.inside import ARGV, call
from pifleet.verify.found import EVERYTHING, SOCKETS
from pifleet.verify.targets import FORBIDDEN
from tests.integration.egress_place import EGRESS_DOOR, Place, place
from tests.integration.outside import METADATA, Outside

__all__ = ["place"]

REQUEST: dict[str, Any] = {
    "tcp": FORBIDDEN, "proxied": FORBIDDEN, "proxy": EGRESS_DOOR, "own": SOCKETS, "names": ["open.test"],
    "kinds": EVERYTHING,
}
ATTEMPTS = [name for name, _ in escape_agent.attempts(REQUEST)]
# What the control need not have either, since not every machine does; all the rest has to be there.
NOT_EVERYWHERE = {
    "the hypervisor's socket": "nobody listens below this machine",
    "socket /run/podman/podman.sock": "the hosts have no podman",
    "write /sys/fs/cgroup/cgroup.procs": "control groups of version 1 have none there",
    **dict.fromkeys(("folder /sys/firmware/efi", "read /dev/mem", "read /dev/kvm", "block devices"),
                    "this machine has no such hardware"),
    **dict.fromkeys(
        ("read /proc/kcore", "write /proc/sys/kernel/modprobe", "write /proc/sysrq-trigger",
         "write /sys/kernel/uevent_helper", "write /sys/kernel/mm/ksm/run", "system call init_module",
         "system call kexec_load"), "this machine's kernel was made without it"),
}
NAMESERVER, NAMESERVER6, METADATA6, ROUTER = "198.41.0.4", "2001:503:ba3e::2:30", "fd00:ec2::254", "192.168.0.1"
ENGINES_DNS = "127.0.0.11"
LISTENERS = """
import socket, sys, threading
def tcp(address, port):
    door = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    while True:
        door.accept()[0].close()
def udp(address):
    door = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    door.bind((address, 53))
    while True:
        door.sendto(*door.recvfrom(512))
for word in sys.argv[1:]:
    kind, address, *port = word.split("/")
    threading.Thread(target={"tcp": tcp, "udp": udp}[kind], args=(address, *map(int, port))).start()
"""
HERE = [
    f"tcp/{METADATA6}/80", f"tcp/{NAMESERVER}/53", f"tcp/{NAMESERVER6}/53", *(f"udp/{name}" for name in (
        NAMESERVER, NAMESERVER6, ENGINES_DNS)), *(f"tcp/127.0.0.1/{port}" for port in (2375, 2376, 3128)),
]
# Nothing is taken from it that root of the host has.
UNCONFINED = (
    "--privileged", "--network=host", "--pid=host", "--ipc=host", "--uts=host", "--cgroupns=host", "--user=0:0",
    *(f"--volume={path}:{path}" for path in ("/run", "/var/lib", "/var/log", "/etc/pifleet", "/dev")))


def listen(outside: Outside) -> None:
    """Have somebody at every address that is tried; the metadata's own is the services' machine."""
    host = outside.host
    host.inside("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6")  # an engine's network may be without
    for address in (f"{NAMESERVER}/32", f"{ROUTER}/32", f"{NAMESERVER6}/128", f"{METADATA6}/128"):
        host.inside("ip", "address", "replace", address, "dev", "lo")
    outside.start(host, "lab-escape", LISTENERS, *HERE)


Said = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def tried(place: Place) -> tuple[Said, Said]:
    """How each attempt ended in a sandbox, and in a container that is not confined."""
    listen(place.outside)
    assert METADATA in {host for _, host, _ in FORBIDDEN}
    request = call("escape", REQUEST).decode()
    confined = place.pifleet("exec", "ana", "--", *ARGV, stdin=request)
    image = place.docker("farm-1", "inspect", "--format", "{{.Image}}", place.ids()[0]).strip()
    control = place.outside.host.inside(
        "docker", "run", "--rm", "--interactive", *UNCONFINED, f"--entrypoint={ARGV[0]}", image, *ARGV[1:],
        input=request)
    return json.loads(confined.out)["attempts"], json.loads(control)["attempts"]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_no_way_out(tried: tuple[Said, Said], attempt: str) -> None:
    confined, control = tried
    # The control has no proxy of a sandbox; what this one leads to is there when it is reached directly.
    there = control[attempt.replace("proxy to", "tcp to")]

    assert confined[attempt]["refused"], confined[attempt]["how"]
    if there["refused"] and attempt in NOT_EVERYWHERE:
        print(f"{attempt}: without a control, since {NOT_EVERYWHERE[attempt]}")
    else:
        assert not there["refused"], f"the control does not succeed either: {there['how']}"


def test_more_than_fifty_are_tried_with_a_control() -> None:
    assert len(set(ATTEMPTS)) == len(ATTEMPTS)
    assert set(NOT_EVERYWHERE) < set(ATTEMPTS)
    assert len(set(ATTEMPTS) - set(NOT_EVERYWHERE)) > 75
