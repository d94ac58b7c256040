"""Owns sandboxes of pattern docker made without provisioning: what the roles would make, on this machine's engine.
It must not need a fleet's gateway: the scripted model listens on the sandbox's own socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pifleet import content
from pifleet import fleet as names
from pifleet.fleet import Connection, Fleet, Host, Limits, Model, Repo, Sandbox
from pifleet.look import image_cache
from pifleet.patterns.docker import desired

LOCAL = Host("here", ("pifleet_docker",), Connection(local=True))
MODEL = Model("dry", "scripted")


def image() -> tuple[str, str]:
    """Name and id of a sandbox image on this machine, brought back from its archive if need be; else empty texts."""
    if not shutil.which("docker") or os.getuid():
        return "", ""
    archives = sorted(image_cache().glob("[0-9a-f]*.tar.zst"), key=lambda path: path.stat().st_mtime)
    if not _listed() and archives:
        unpacked = subprocess.Popen(["zstd", "-dcq", "--", archives[-1]], stdout=subprocess.PIPE)
        subprocess.run(["docker", "load", "-q"], stdin=unpacked.stdout, capture_output=True, check=False)
        unpacked.wait()
    return (*_listed(), "", "")[:2]  # type: ignore[return-value]


def _listed() -> list[str]:
    return subprocess.run(
        ["docker", "images", "--no-trunc", "--filter", "label=io.pifleet.image", "--format",
         "{{.Repository}}:{{.Tag}} {{.ID}}", "pifleet/pi"], capture_output=True, text=True, check=False).stdout.split()


class Box:
    """One sandbox, its fleet and what the roles would have made for it under a folder of the test's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sandbox = Sandbox(f"t{os.urandom(4).hex()}", "main", "docker", "dry", Limits(memory=1 << 30), ("api",))
        name, self.image_id = image()
        self.image = name
        self.fleet = Fleet("acme-test", {"here": LOCAL}, (self.sandbox,), {"api": Repo("api", "https://x/api", "main")},
                           {"dry": MODEL})
        self.wanted = {**desired.container(self.fleet, self.sandbox), "image": name}
        self.wanted["env"] = {**self.wanted["env"]}
        self.model: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        for folder in desired.dirs(self.sandbox):
            path = Path(folder["path"])
            path.mkdir(parents=True)
            path.chmod(int(folder["mode"], 8))
            os.chown(path, folder["uid"], folder["gid"])
        for file in desired.files(self.sandbox, self.models(), {}):
            Path(file["path"]).write_text(file["content"], encoding="utf-8")
        self.listen()
        self.create(self.wanted)
        subprocess.run(["docker", "start", self.sandbox.container], check=True, stdout=subprocess.DEVNULL)

    def models(self) -> list[Model]:
        return [self.fleet.models[name] for name in self.sandbox.models]

    def listen(self) -> None:
        """Have a model on the sandbox's socket."""
        self.model = subprocess.Popen(
            [sys.executable, str(content.root() / "roles/model_gateway/files/scripted_model.py"),
             "--socket", str(self.sandbox.model_socket)], stdout=subprocess.DEVNULL)
        while not self.sandbox.model_socket.exists():  # type: ignore[attr-defined]
            time.sleep(0.05)
        os.chmod(self.sandbox.model_socket, 0o666)

    def create(self, wanted: dict[str, Any]) -> None:
        """What the role's module does: one create request with our own body."""
        collections = self.root / "collections"
        if not collections.exists():
            sys.path.insert(0, str(content.link_collection(collections)))
        from ansible_collections.pifleet.fleet.plugins.module_utils.containers import create_body
        from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine

        Engine().post("/containers/create", create_body(wanted), {"name": wanted["name"]})

    def remove(self) -> None:
        subprocess.run(["docker", "rm", "-f", self.sandbox.container], capture_output=True, check=False)
        if self.model:
            self.model.kill()
            self.model.wait()

    def spec(self) -> dict[str, Any]:
        """The part of a host's spec that concerns this sandbox."""
        empty = {key: [] for key in ("users", "secrets", "packages", "services", "sockets", "filters", "clients")}
        return {"fleet": self.fleet.name, "host": "here", "root": str(names.ROOT), "image": {"name": self.image},
                **empty, "dirs": desired.dirs(self.sandbox), "files": desired.files(self.sandbox, self.models(), {}),
                "sandboxes": [{**desired.entry(self.fleet, self.sandbox), "container": self.wanted}]}


@contextmanager
def running(root: Path, monkeypatch):
    """A running sandbox whose host folders lie below `root`."""
    monkeypatch.setattr(names, "ROOT", root / "lib")
    # pytest's folders are private; the sandbox's user must get to what is mounted below.
    for folder in (root, *root.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    box = Box(root)
    box.make()
    try:
        yield box
    finally:
        box.remove()


