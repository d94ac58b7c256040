"""Owns a gateway that really runs: nginx, its rendered configuration and keys, providers, a socket for each sandbox.
It must not need a host of the fleet: all paths lie below one folder."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from unittest import mock

from pifleet import content
from pifleet import fleet as names
from pifleet.desired import gateway
from pifleet.fleet import Model, Sandbox
from tests.gateway import upstream

HERE = Path(__file__).parent
ROLE = content.root() / "roles" / "model_gateway" / "files"
ROTATE = content.root() / "roles" / "service" / "files" / "rotate"


def usable() -> bool:
    """nginx, and root for its workers' user."""
    return bool(shutil.which("nginx", path="/usr/sbin:/usr/bin")) and os.getuid() == 0


def wait(ready: Any, seconds: float = 60) -> None:
    """Until it is so; the bound is for a machine that is busy with much else."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@dataclass
class Answer:
    """What a client got; `broken` when the connection ended before the answer did."""

    status: int
    headers: dict[str, str]
    body: bytes
    broken: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


@dataclass
class Upstream:
    """A running provider."""

    port: int
    record: Path
    process: subprocess.Popen[str]

    def requests(self) -> list[dict[str, Any]]:
        text = self.record.read_text() if self.record.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def heads(self) -> list[str]:
        return [request["head"] for request in self.requests()]


@dataclass
class Place:
    """The gateway's folder, which stands for a host's whole file system, and what runs in it."""

    root: Path
    models: list[Model] = field(default_factory=list)
    boxes: list[Sandbox] = field(default_factory=list)
    running: list[subprocess.Popen[Any]] = field(default_factory=list)
    nginx: subprocess.Popen[bytes] | None = None

    def spawn(self, *argv: object, **settings: Any) -> subprocess.Popen[Any]:
        process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, **settings)
        self.running.append(process)
        return process

    def upstream(self, certificate: Path | None = None) -> Upstream:
        record = self.root / f"record-{len(self.running)}"
        process = self.spawn(sys.executable, upstream.__file__, record, certificate or "",
                             stdout=subprocess.PIPE, text=True)
        return Upstream(int(process.stdout.readline()), record, process)

    def certificate(self, name: str, host: str = "localhost") -> Path:
        """A self-signed certificate with its key in one file; the certificate alone beside it as .crt."""
        key, crt = self.root / f"{name}.pem", self.root / f"{name}.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}",
             "-addext", f"subjectAltName=DNS:{host}", "-keyout", str(key), "-out", str(crt)],
            check=True, capture_output=True)
        key.write_bytes(key.read_bytes() + crt.read_bytes())
        return key

    def key(self, model: Model, value: str, which: str = "") -> None:
        """Give a model's key file this value, as the role does; or the file of `which` (":proxy_auth")."""
        secret = f"model:{model.name}{which}"
        entry = next(entry for entry in gateway.secrets(self.models) if entry["secret"] == secret)
        path = Path(entry["path"])
        path.with_suffix(".new").write_text(entry["template"].replace("{}", value))
        path.with_suffix(".new").chmod(0o600)
        path.with_suffix(".new").replace(path)

    def configure(self, models: Sequence[Model], boxes: Sequence[Sandbox]) -> None:
        """Write what the role writes."""
        self.models, self.boxes = list(models), list(boxes)
        for folder in gateway.dirs(models):
            Path(folder["path"]).mkdir(parents=True, exist_ok=True)
            os.chown(folder["path"], folder["uid"], folder["gid"])
            os.chmod(folder["path"], int(folder["mode"], 8))
        for box in boxes:
            Path(box.model_socket).parent.mkdir(parents=True, exist_ok=True)
        for file in gateway.files(models, boxes):
            Path(file["path"]).parent.mkdir(parents=True, exist_ok=True)
            Path(file["path"]).write_text(file["content"])
        for folder in (names.LOGS, names.RUN / "nginx"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        Path(names.RUN / "resolver.conf").write_text("resolver 127.0.0.1:1;\nresolver_timeout 1s;\n")

    def start(self) -> None:
        program = self.root / "gateway"
        text = (ROLE / "gateway").read_text()
        for constant, value in (("RUN", names.RUN), ("SANDBOXES", f"{names.ROOT}/sandboxes/")):
            line = next(line for line in text.splitlines() if line.startswith(f"{constant} = "))
            text = text.replace(line, f"{constant} = {str(value)!r}")
        program.write_text(text)
        with (self.root / "errors").open("ab") as errors:
            conf = gateway.services(self.models)[-1]["argv"][-1]
            self.nginx = self.spawn(sys.executable, "-I", program, conf, stderr=errors)
        wait(self.answers)

    def answers(self) -> bool:
        want = gateway.config_id(self.models, self.boxes).encode()
        try:
            return all(self.ask(box, "GET", "/.pifleet/health").body == want for box in self.boxes)
        except OSError:
            return False

    def reload(self) -> None:
        self.nginx.send_signal(signal.SIGHUP)

    def tunnel(self, model: Model) -> None:
        service = next(s for s in gateway.services(self.models) if s["name"].endswith(model.name))
        self.spawn(sys.executable, *service["argv"][1:])
        wait(lambda: Path(service["argv"][3]).exists())

    def scripted(self) -> None:
        service = gateway.services(self.models)[0]
        self.spawn(sys.executable, *service["argv"][1:], stdout=subprocess.DEVNULL)
        wait(lambda: Path(service["argv"][-1]).exists())

    def connect(self, box: Sandbox, timeout: float = 20) -> UnixConnection:
        return UnixConnection(str(box.model_socket), timeout=timeout)

    def ask(self, box: Sandbox, method: str, path: str, body: Any = None, timeout: float = 20,
            **headers: str) -> Answer:
        connection = self.connect(box, timeout)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        reply = connection.getresponse()
        try:
            return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        except http.client.IncompleteRead as error:
            return Answer(reply.status, {}, error.partial, broken=True)
        finally:
            connection.close()

    def say(self, box: Sandbox, raw: bytes) -> bytes:
        """What comes back for these bytes, until the gateway closes or, having answered, is silent for a second."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(box.model_socket))
            client.sendall(raw)
            said = b""
            try:
                while chunk := client.recv(65536):
                    said += chunk
                    client.settimeout(1)
            except TimeoutError:
                pass
            return said

    def log(self, box: Sandbox | None = None) -> list[dict[str, Any]]:
        """All whole lines, or those of one sandbox. nginx writes one after the client has its answer: `wait` for it."""
        path = Path(gateway.log())
        text = path.read_text() if path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if box is None or line["sandbox"] == box.title]

    def errors(self) -> str:
        return (self.root / "errors").read_text()


@contextmanager
def place() -> Iterator[Place]:
    """An empty place; everything in it ends and goes with the block."""
    root = Path(tempfile.mkdtemp(prefix="pifleet-gateway-"))
    root.chmod(0o755)
    folders = {name: PurePosixPath(root / name.lower()) for name in ("ROOT", "ETC", "PROGRAMS", "LOGS", "RUN")}
    made = Place(root)
    try:
        with mock.patch.multiple(names, **folders):
            yield made
    finally:
        for process in reversed(made.running):
            process.terminate()
        for process in made.running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(root)
