"""The namespace in which a sandbox's processes live: one cable to the supervisor's proxy, and nothing else.

Owns addresses and the way to a port inside; must not know what the proxy lets through.
"""

import os
import shutil
import socket
import subprocess

from . import kernel
from .identity import Refused

NAME = "openshell"
PROXY, INSIDE, PORT = "10.200.0.1", "10.200.0.2", 3128


def make() -> int:
    """Lay the cable; gives a descriptor of the inner namespace. Raises Refused where the image has no `ip`."""
    if not shutil.which("ip", path="/usr/sbin:/usr/bin:/sbin:/bin"):
        raise Refused("Network namespace creation failed: trusted ip helper not found")
    inner = kernel.new_network()
    os.makedirs("/run/netns", exist_ok=True)
    place = f"/run/netns/{NAME}"
    with open(place, "w"):
        pass
    source = f"/proc/self/fd/{inner}".encode()
    kernel.checked(kernel.libc.mount(source, place.encode(), None, 4096, None), "mount netns")
    for words in (
        f"link add osh0 type veth peer name eth0 netns {NAME}",
        f"addr add {PROXY}/24 dev osh0",
        "link set osh0 up",
        f"-n {NAME} addr add {INSIDE}/24 dev eth0",
        f"-n {NAME} link set eth0 up",
        f"-n {NAME} link set lo up",
    ):
        done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(f"Network namespace creation failed: ip {words}: {done.stderr.strip()}")
    return inner


def connect(inner: int, host: str, port: int) -> socket.socket:
    """A connection to a port of the sandbox's own loopback; raises OSError."""
    def act() -> socket.socket:
        kernel.enter(inner)
        return socket.create_connection((host, port), timeout=10)

    made: socket.socket = kernel.in_thread(act)
    made.setblocking(False)
    return made
