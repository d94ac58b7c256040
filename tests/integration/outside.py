"""Owns the world around one lab host for tests of egress: names, addresses of every kind, and listeners behind them.
It must not know pifleet; what it starts answers anybody, so that only a confinement can be why somebody is not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.lab.farm import Lab
from tests.lab.hosts import Host

# Addresses that look public (documentation ranges, RFC 5737), and where clouds keep their metadata.
OPEN, OTHER, METADATA = "198.51.100.7", "198.51.100.8", "169.254.169.254"
PORTS = (80, 443, 2222, 8443)
GIT_PORT = 9443
CERTIFICATE = "/srv/lab/git.pem"

LISTENER = """
import socketserver, sys, threading
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.request.settimeout(10)
        if self.request.recv(1):
            at = "%s:%d" % self.request.getsockname()[:2]
            self.wfile.write(("HTTP/1.0 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\nreached " + at).encode())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
servers = [Server(("0.0.0.0", int(port)), Handler) for port in sys.argv[1:]]
for server in servers:
    threading.Thread(target=server.serve_forever).start()
"""
# Leads from TLS to the lab's git server.
TLS = """
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
door = socket.create_server(("0.0.0.0", int(sys.argv[2])))
def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
def serve(near):
    try:
        near = context.wrap_socket(near, server_side=True)
    except OSError:
        return
    far = socket.create_connection(("127.0.0.1", int(sys.argv[3])))
    threading.Thread(target=pump, args=(near, far), daemon=True).start()
    pump(far, near)
while True:
    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
"""
# Sends each request to a proxy, and through a tunnel that is opened a plain request; says what came back.
CLIENT = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def ask(where, request):
    try:
        peer = socket.create_connection(tuple(where), 5)
        peer.settimeout(25)
        peer.sendall(request.encode("latin-1"))
        said = peer.recv(65536)
        if said.startswith(b"HTTP") and said.split(b" ")[1:2] != [b"200"]:
            return said.decode("latin-1")
        if request.startswith("CONNECT"):
            peer.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        while len(said) < 65536 and (more := peer.recv(65536)):
            said += more
    except OSError as error:
        return "error: %s" % error
    return said.decode("latin-1")
where, requests = json.loads(sys.argv[1])
print(json.dumps(list(ThreadPoolExecutor(8).map(lambda request: ask(where, request), requests))))
"""


@dataclass(frozen=True)
class Outside:
    """Everything that sandboxes of `host` may try to reach; `names` are in the host's /etc/hosts."""

    lab: Lab
    host: Host

    @property
    def services(self) -> Host:
        return self.lab.host("services")

    @property
    def names(self) -> dict[str, str]:
        inner, own = self.services.address, self.host.address
        return {
            "open.test": OPEN, "plain.test": OPEN, "wide.test": OPEN, "a.wide.test": OPEN, "other.test": OPEN,
            "notwide.test": OPEN,
            "bo.test": OTHER, "inner.test": inner, "git.test": inner, "proxy.test": inner,
            "meta.test": METADATA, "self.test": own, "loop.test": "127.0.0.1", "docker.test": "172.17.0.1",
        }

    def make(self) -> None:
        """Give the services' machine its other addresses, lead there, and listen on all of them and on the host."""
        for address in (OPEN, OTHER, METADATA):
            self.services.inside("ip", "address", "replace", f"{address}/32", "dev", "lo")
        self.listen(self.services)
        self.start(self.services, "lab-tls", TLS, CERTIFICATE, str(GIT_PORT), "8080")
        self.lead()

    def lead(self) -> None:
        """What the host forgets when it starts anew: routes, names and its own listeners."""
        for address in (OPEN, OTHER, METADATA):
            self.host.inside("ip", "route", "replace", f"{address}/32", "via", self.services.address)
        lines = "".join(f"{address} {name}\n" for name, address in self.names.items())
        self.host.inside("sh", "-c", "grep -v '[.]test$' /etc/hosts > /run/hosts; cat - >> /run/hosts; "
                         "cat /run/hosts > /etc/hosts", input=lines)
        self.listen(self.host)

    def listen(self, host: Host) -> None:
        self.start(host, "lab-listener", LISTENER, *map(str, PORTS))

    @staticmethod
    def start(host: Host, unit: str, program: str, *words: str) -> None:
        host.inside("systemctl", "stop", unit, check=False)
        host.inside("systemctl", "reset-failed", unit, check=False)
        host.inside("systemd-run", "--quiet", f"--unit={unit}", "python3", "-c", program, *words)

    def certificate(self) -> str:
        """A certificate of the git server, made for its name; clients have to be told to trust it."""
        self.services.inside(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "30", "-subj", "/CN=git.test", "-addext", "subjectAltName=DNS:git.test",
            "-keyout", CERTIFICATE, "-out", "/srv/lab/c")
        public = str(self.services.inside("cat", "/srv/lab/c"))
        self.services.inside("sh", "-c", f"cat /srv/lab/c >> {CERTIFICATE}")
        return public

    def reaches(self, name: str, port: int, *as_user: str) -> str:
        """What a process of the host without our confinement gets there: a plain user's, or `as_user`'s."""
        asked = json.dumps([[self.names.get(name, name), port], ["GET / HTTP/1.0\r\n\r\n"]])
        said = (self.host.inside(*as_user, "python3", "-c", CLIENT, asked) if as_user
                else self.host.ssh("python3", "-c", CLIENT, asked).stdout)
        return str(json.loads(said)[0])


def reached(said: Any) -> bool:
    """Whether an answer is a listener's, and not a proxy's word about it."""
    return "reached " in str(said)
