"""Owns a sandbox of pattern docker behind a gateway that really runs, made without provisioning a host.
It must not know what is proved of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pifleet.desired.inside import EGRESS_PORT
from pifleet.fleet import Model
from pifleet.patterns.docker import desired
from pifleet.report import Check
from pifleet.sandbox import driver_for
from pifleet.secret import SecretSource
from pifleet.verify import verifier
from tests.gateway.place import Place, wait
from tests.integration import boxes

KEY = "sk-canary-0f47c1d2e9"


def costly(here: Place) -> Model:
    """A model of a provider that counts what it is asked: `here.provider`."""
    here.provider = here.upstream()  # type: ignore[attr-defined]
    return Model("paid", "anthropic-messages", f"http://127.0.0.1:{here.provider.port}",  # type: ignore[attr-defined]
                 SecretSource("env", "KEY"), ("m",))


class Kept(boxes.Box):
    """A sandbox behind a gateway that has a key for each of its models."""

    def __init__(self, here: Place, models: Sequence[Model]) -> None:
        super().__init__(here.root)
        self.here = here
        first, *others = (model.name for model in models)
        self.sandbox = replace(self.sandbox, model=first, other_models=tuple(others))
        self.fleet = replace(self.fleet, sandboxes=(self.sandbox,), models={model.name: model for model in models})
        self.wanted = {**desired.container(self.fleet, self.sandbox), "image": self.image,
                       "entrypoint": ["/usr/local/lib/pifleet/keeper"]}

    def listen(self) -> None:
        self.here.configure(self.models(), [self.sandbox])
        for model in self.models():
            self.here.key(model, KEY)
        self.here.scripted()
        self.here.start()

    def ready(self) -> bool:
        """Whether its first process has done all that it does at the start: both forwards come last."""
        logs = subprocess.run(["docker", "logs", self.sandbox.container], capture_output=True, text=True, check=True)
        return f"127.0.0.1:{EGRESS_PORT} leads to" in logs.stdout + logs.stderr

    def clone(self) -> None:
        """What repo_clone leaves: a repository, and its base as the host wrote it down."""
        script = "git init -qb main api && cd api && git -c user.name=a -c user.email=a@b commit -qm one --allow-empty"
        self.inside("sh", "-c", script)
        base = self.inside("git", "-C", "api", "rev-parse", "HEAD").strip()
        Path(self.sandbox.root, "repos.json").write_text(json.dumps({"api": {"url": "x", "ref": "main", "base": base}}))

    def inside(self, *argv: str, **settings: Any) -> str:
        words = ["docker", "exec", *([] if "input" not in settings else ["-i"]), self.sandbox.container, *argv]
        return subprocess.run(words, check=True, capture_output=True, text=True, **settings).stdout

    def verify(self) -> dict[str, Check]:
        with driver_for("docker")(boxes.LOCAL) as driver:
            return {check.name.strip(): check for check in verifier(self.fleet)(driver, self.sandbox, lambda _: None)}

    def bytes(self) -> dict[str, tuple[Any, ...]]:
        """Every file of workspace and home with its times, and what it holds."""
        found: dict[str, tuple[Any, ...]] = {}
        for part in ("workspace", "home", "etc", "net"):
            for path in Path(self.sandbox.root, part).rglob("*"):
                info = path.lstat()
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                found[str(path)] = (info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_mode, content)
        return found


@contextmanager
def kept(here: Place, models: Sequence[Model]) -> Iterator[Kept]:
    made = Kept(here, models)
    made.make()
    try:
        wait(made.ready)
        yield made
    finally:
        made.remove()
