"""Owns a fleet whose only host reaches a gateway that another one runs, and the way there, for tests.
It must not know how that gateway lets its clients in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.integration.shells import Shells
from tests.lab.hosts import Host

RELAY = """
import socket, sys, threading
listen, port, to, to_port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
server = socket.create_server((listen, port))
while True:
    near, _ = server.accept()
    far = socket.create_connection((to, to_port))
    for pair in ((near, far), (far, near)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


@dataclass
class Guests(Shells):
    """A fleet of one host, `client`; `gateway` is what its inventory says of the gateway that it reaches."""

    client: str = ""
    gateway: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        group = {"pifleet_openshell_gateways": {"hosts": {self.client: self.gateway}}}
        (self.folder / "addresses.yml").write_text(self.lab.inventory())
        (self.folder / "inventory.json").write_text(json.dumps({"all": {"vars": self.overlay, "children": group}}))
        return [str(self.folder / "inventory.json"), str(self.folder / "addresses.yml")]

    def with_overlay(self, **said: Any) -> Guests:
        return replace(self, overlay={**self.overlay, **said})


def relay(host: Host, listen: str, port: int, to: str, to_port: int) -> None:
    """A way to a port for as long as the host is there, as an administrator's tunnel would be."""
    host.inside("tee", "/root/relay.py", input=RELAY)
    words = f"python3 /root/relay.py {listen} {port} {to} {to_port}"
    host.inside("sh", "-c", f"setsid {words} >/dev/null 2>&1 </dev/null &")
