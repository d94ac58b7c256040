"""Owns what lies outside of sandboxes in tests of OpenShell: the scripted model, a site, a program that asks them.

It must not know which gateway is in between.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.integration.openshell import Shell, until
from tests.lab.engine import docker
from tests.lab.image import SCRIPTED_MODEL
from tests.lab.openshell.double import free_port

NETWORK = "openshell-docker"
POLICY = """version: 1
filesystem_policy:
  include_workdir: true
  read_only: [/usr, /lib, /etc, /proc, /dev/urandom]
  read_write: [/tmp, /dev/null]
landlock: {compatibility: best_effort}
"""
ASK = """
import json, sys, urllib.error, urllib.request
url, body, headers = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
request = urllib.request.Request(url, body.encode() or None, headers)
try: answer = urllib.request.urlopen(request, timeout=20)
except urllib.error.HTTPError as error: answer = error
except OSError as error: sys.exit(f"no answer: {error}")
print(answer.status, answer.read().decode())
"""
JSON = {"content-type": "application/json", "anthropic-version": "2023-06-01", "x-api-key": "unused"}


def bridge() -> str:
    """An address that both the gateway's host and its sandboxes' containers reach."""
    return docker("network", "inspect", NETWORK, "--format", "{{(index .IPAM.Config 0).Gateway}}")


@dataclass
class Model:
    """The scripted model, as a provider outside of every sandbox."""

    url: str
    log: Path

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def model(folder: Path) -> Iterator[Model]:
    port, log = free_port(), folder / "model.log"
    log.touch()
    process = subprocess.Popen([sys.executable, SCRIPTED_MODEL, "--host", bridge(), "--port", str(port), "--log", log],
                               stdout=subprocess.PIPE)
    try:
        until(lambda: subprocess.run(["bash", "-c", f"exec 3<>/dev/tcp/{bridge()}/{port}"], capture_output=True,
                                     check=False).returncode == 0)
        yield Model(f"http://{bridge()}:{port}", log)
    finally:
        process.kill()
        process.wait()


class Site:
    """A host outside, and which requests reached it."""

    def __init__(self) -> None:
        seen: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append({"method": self.command, "path": self.path, "auth": self.headers.get("authorization")})
                self.send_response(200)
                self.send_header("content-length", "4")
                self.end_headers()
                self.wfile.write(b"site")

            do_POST = do_GET

            def log_message(self, *words: object) -> None:
                pass

        self.seen = seen
        self.server = ThreadingHTTPServer((bridge(), 0), Handler)
        self.host, self.port = bridge(), self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"


def ask(openshell: Shell, name: str, url: str, body: str = "", headers: dict[str, str] | None = None,
        *workspace: str) -> str:
    """What a program in a sandbox gets: status and text of an answer, or why there is none."""
    done = openshell("sandbox", "exec", "-n", name, *workspace, "--", "python3", "-c", ASK, url, body,
                     json.dumps(headers or {}), seconds=60)
    return done.said


def provide(openshell: Shell, name: str, kind: str, url: str, key: str, *workspace: str) -> None:
    variable = f"{kind.upper()}_API_KEY"
    openshell.ok("provider", "create", "--name", name, "--type", kind, "--credential", variable, "--config",
                 f"{kind.upper()}_BASE_URL={url}", *workspace, **{variable: key})
