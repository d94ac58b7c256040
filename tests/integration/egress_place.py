"""Owns one host with three sandboxes of different lists, and how tests of egress ask from inside them.
It must not know what is tried; everything goes through pifleet's command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.farm import Done, Farm
from tests.integration.outside import CLIENT, GIT_PORT, Outside
from tests.lab.farm import Lab
from tests.lab.fixtures import started

LISTS: dict[str, list[Any]] = {
    "ana": [
        "open.test", "open.test:8443", "plain.test:80", ".wide.test", "inner.test", "meta.test",
        {"to": f"git.test:{GIT_PORT}", "private": True}, {"to": "git.test:8443", "private": True},
        *({"to": f"{name}.test:443", "private": True} for name in ("self", "loop", "docker")),
    ],
    "bo": ["bo.test", "pip", "npm", "apt"],
    "cy": [],
}
EMPTY = "cy"
MODEL_DOOR, EGRESS_DOOR = ("127.0.0.1", 8100), ("127.0.0.1", 8101)
# Asks the same again and again in the background and writes down what came back, until its log is taken away.
WATCH = """
import json, os, subprocess, sys, time
client, asked, log = sys.argv[1:]
open(log, "w").close()
if os.fork():
    sys.exit()
os.setsid()
for stream in range(3):
    os.dup2(os.open(os.devnull, os.O_RDWR), stream)
while True:
    for one in json.loads(asked):
        done = subprocess.run([sys.executable, "-c", client, json.dumps(one)], stdout=subprocess.PIPE)
        with open(log, "rb+") as file:
            file.seek(0, os.SEEK_END)
            file.write(done.stdout)
    time.sleep(0.2)
"""
WATCH_LOG = "/tmp/watch"


@dataclass
class Place(Farm):
    """One host, three sandboxes of different lists, and the world around."""

    outside: Outside = field(kw_only=True)
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        developers = {name: {"egress": entries} for name, entries in self.overlay.items()}
        variables = {
            **self.variables, "pifleet_fleet": "egress", "pifleet_results": str(self.folder / "results"),
            "pifleet_models": {"dry": {"api": "scripted"}}, "pifleet_developers": developers,
            "pifleet_defaults": {"pattern": "docker", "model": "dry", "cpus": 1, "memory": "1g", "pids": 256},
        }
        inventory = {"all": {"vars": variables, "children": {"pifleet_docker": {"hosts": {"farm-1": {}}}}}}
        (self.folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
        (self.folder / "addresses.yml").write_text(self.lab.inventory())
        return [str(self.folder / "inventory.yml"), str(self.folder / "addresses.yml")]

    def ask(self, developer: str, *requests: str, door: tuple[str, int] = EGRESS_DOOR) -> list[str]:
        """What comes back from the sandbox's proxy, or from its model gateway."""
        asked = json.dumps([door, requests])
        return list(json.loads(self.pifleet("exec", developer, "--", "python3", "-c", CLIENT, asked).out))

    def models_answer(self, developer: str) -> bool:
        """Whether the sandbox's scripted model says what it is told to."""
        body = '{"messages": [{"role": "user", "content": "SAY it works"}]}'
        request = (f"POST /.pifleet/scripted/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                   f"Connection: close\r\n\r\n{body}")
        return "it works" in self.ask(developer, request, door=MODEL_DOOR)[0]

    @contextmanager
    def watched(self, developer: str, asked: Sequence[tuple[tuple[str, int], Sequence[str]]]) -> Iterator[list[str]]:
        """Ask all of this from inside for as long as the block takes; afterwards the list holds every answer."""
        answers: list[str] = []
        self.pifleet("exec", developer, "--", "python3", "-c", WATCH, CLIENT, json.dumps(asked), WATCH_LOG)
        yield answers
        log = self.inside(developer, f"cat {WATCH_LOG} && rm {WATCH_LOG}").out
        answers += [answer for line in log.splitlines() for answer in json.loads(line)]

    def inside(self, developer: str, script: str, *words: str, stdin: str = "") -> Done:
        return self.pifleet("exec", developer, "--", "sh", "-c", script, "sh", *words, stdin=stdin)

    def ids(self) -> list[str]:
        return sorted(self.docker("farm-1", "ps", "-aq", "--no-trunc").split())

    def running(self) -> list[str]:
        """Every container with the moment in which it was started."""
        return self.docker("farm-1", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *self.ids()).splitlines()


def tunnel(where: str, *headers: str) -> str:
    return "\r\n".join([f"CONNECT {where} HTTP/1.1", *(headers or (f"Host: {where}",)), "", ""])


def plain(url: str, *headers: str, method: str = "GET") -> str:
    return "\r\n".join([f"{method} {url} HTTP/1.1", *(headers or ("Host: x",)), "Connection: close", "", ""])


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    lab = started("egress-test", "farm-1")
    outside = Outside(lab, lab.host("farm-1"))
    configure_clients(lab)
    trusted = outside.certificate()
    outside.make()
    made = Place(lab, tmp_path_factory.mktemp("egress"), dict(LISTS), outside=outside)
    done = made.provision()
    assert done.code == 0, done.out[-3000:] + done.err[-3000:]
    for developer in LISTS:
        made.inside(developer, "cat > /tmp/ca.pem", stdin=f"{trusted}\n{own_certificates()}")
    yield made
    lab.down()


def configure_clients(lab: Lab) -> None:
    """The host's pip and npm as this machine's are configured, since a bare host has neither."""
    index = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True,
                           text=True, check=False).stdout.strip()
    if not index:
        from pip._internal.models.index import PyPI

        index = PyPI.simple_url
    registry = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True, check=True,
                              cwd="/").stdout.strip()
    lab.host("farm-1").inside("tee", "/etc/pip.conf", input=f"[global]\nindex-url = {index}\n")
    lab.host("farm-1").inside("tee", "/etc/npmrc", input=f"registry={registry}\n")


def own_certificates() -> str:
    """What this machine trusts to reach its mirrors, which the sandboxes' programs have to trust too."""
    return Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")).read_text()
