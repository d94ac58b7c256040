"""Owns a gateway and the real `openshell` command for tests: the double, or the real binaries named by the environment.

It must not know pifleet; whatever it offers both kinds of gateway can do.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab.engine import CannotCarry, docker, ensure
from tests.lab.openshell import wheel
from tests.lab.openshell.double import NAMESPACE, Double, sandbox_image

REGISTRY = "pifleet-lab"


@dataclass(frozen=True)
class Done:
    """What a command said and how it ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def said(self) -> str:
        """Everything, on one line: the command breaks long sentences."""
        return " ".join(f"{self.text} {self.err}".replace("│", " ").split())


@dataclass
class Shell:
    """The real command with a home, a configuration and an empty working directory of its own."""

    home: Path
    command: Path
    environment: dict[str, str] = field(default_factory=dict)

    def env(self) -> dict[str, str]:
        own = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "NO_COLOR": "1",
               "OPENSHELL_COMMUNITY_REGISTRY": REGISTRY}
        return {**os.environ, **own, **self.environment}

    def run(self, *command: str | Path, given: bytes = b"", seconds: float = 60, **environment: str) -> Done:
        """Any program, in this operator's surroundings."""
        here = self.home / "empty"
        here.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, cwd=here, env={**self.env(), **environment}, input=given, capture_output=True,
                              check=False, timeout=seconds)
        return Done(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def __call__(self, *words: str | Path, **options: Any) -> Done:
        return self.run(self.command, *words, **options)

    def ok(self, *words: str | Path, **options: Any) -> Done:
        done = self(*words, **options)
        assert done.code == 0, f"{words}: {done.said}"
        return done

    def json(self, *words: str | Path) -> Any:
        return json.loads(self.ok(*words, "-o", "json").out)

    def typed(self, line: str) -> Done:
        """A line as somebody types it."""
        name, *words = line.split()
        assert name == "openshell"
        return self.ok(*words)

    def phase(self, name: str, *words: str) -> str:
        found = [one for one in self.json("sandbox", "list", *words) if one["name"] == name]
        return str(found[0]["phase"]) if found else "missing"

    def exec(self, name: str, *command: str, **options: Any) -> Done:
        return self("sandbox", "exec", "-n", name, "--", *command, **options)

    def ssh(self, name: str, *words: str | Path, **options: Any) -> Done:
        """Plain OpenSSH, by the configuration that the command prints."""
        return self.run("ssh", "-F", self.ssh_config(name), *words, **options)

    def ssh_config(self, name: str) -> Path:
        path = self.home / f"{name}.ssh"
        if not path.exists():
            path.write_bytes(self.ok("sandbox", "ssh-config", name).out)
        return path


@contextmanager
def serving(root: Path, tls: bool = False) -> Iterator[Double]:
    """A gateway of the test's own; skips where this machine cannot carry one."""
    gateway = Double(root, f"t{uuid.uuid4().hex[:8]}", tls)
    try:
        ensure()
        sandbox_image(REGISTRY)
        gateway.start()
    except CannotCarry as reason:
        pytest.skip(str(reason))
    try:
        yield gateway
    finally:
        gateway.clean()


def operator(home: Path, gateway: Double) -> Shell:
    """Somebody who has the command and has added the gateway."""
    shell = Shell(home, Path(os.environ.get("PIFLEET_TEST_OPENSHELL_CLI") or wheel.command()))
    if not gateway.tls:
        shell.ok("gateway", "add", gateway.url, "--name", "lab")
    return shell


def container(gateway: Double, name: str) -> str:
    """The id of a sandbox's container, running or not."""
    labels = [f"--filter=label={NAMESPACE}={gateway.name}", f"--filter=label=openshell.ai/sandbox-name={name}"]
    return docker("ps", "--all", "--quiet", "--no-trunc", *labels)


def until(what: Callable[[], bool], seconds: float = 20) -> float:
    """Wait for something to become true; gives how long that took, fails the test where it does not."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - start
