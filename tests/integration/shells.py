"""Owns a farm of one OpenShell gateway for tests: a lab's bare host, an inventory made for it, the double packed as a
release or the real packages that the environment names. It must not reach into pifleet, nor into the double."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.integration.farm import Done, Farm
from tests.lab.farm import Lab
from tests.lab.openshell import package, wheel

HOST = "farm-3"
ANA, BO, CY = "ana/main", "bo/main", "cy/main"
STATE = "/var/lib/pifleet/openshell/gateway"
TLS = f"{STATE}/state/openshell/tls"
# A certificate for the right names by the right authority, which ended a year ago.
EXPIRED = f"""
cd {TLS} && openssl req -new -key server/tls.key -subj /CN=localhost -out /tmp/old.csr &&
openssl x509 -req -in /tmp/old.csr -CA ca.crt -CAkey ca.key -not_before 20250101000000Z -not_after 20250102000000Z \
  -out server/tls.crt && rm /tmp/old.csr
"""
# Paths of real packages, separated by colons, and their version: these are installed instead of the double.
REAL, REAL_VERSION = "PIFLEET_TEST_OPENSHELL_PACKAGES", "PIFLEET_TEST_OPENSHELL_VERSION"


def packages(folder: Path) -> tuple[str, list[dict[str, str]]]:
    """The version and the packages that hold command, gateway and supervisor."""
    if REAL in os.environ:
        files = [Path(name) for name in os.environ[REAL].split(":")]
    else:
        made = package.release(folder)
        files = [*made.glob("*.deb"), *made.glob("openshell-sandbox-*.tar.gz")]
    named = [{"file": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()} for file in files]
    return os.environ.get(REAL_VERSION, wheel.VERSION), named


class Shells(Farm):
    """A farm whose inventory is all its own; `overlay` holds its variables."""

    @property
    def sources(self) -> list[str]:
        (self.folder / "addresses.yml").write_text(self.lab.inventory())
        everything = {"vars": self.overlay, "children": {"pifleet_openshell": {"hosts": {HOST: {}}}}}
        (self.folder / "inventory.json").write_text(json.dumps({"all": everything}))
        return [str(self.folder / "inventory.json"), str(self.folder / "addresses.yml")]

    def shell(self, *words: str) -> str:
        """What the real command says, through pifleet's own verb."""
        return self.pifleet("openshell", HOST, "--", *words).out

    def sandbox(self, developer: str) -> dict[str, Any]:
        listed: list[dict[str, Any]] = json.loads(self.shell(
            "sandbox", "list", "--workspace", f"pi-{developer}", "-o", "json"))
        return listed[0]

    def phase(self, developer: str) -> str:
        """The phase that the gateway tells of a sandbox, or "missing"."""
        listed = json.loads(self.shell("sandbox", "list", "--workspace", f"pi-{developer}", "-o", "json") or "[]")
        return str(listed[0]["phase"]) if listed else "missing"

    def provider(self, developer: str) -> str:
        """The name of a developer's provider."""
        return self.shell("provider", "list", "--workspace", f"pi-{developer}", "--names").split()[0]

    def shown_policy(self, developer: str) -> dict[str, Any]:
        """A sandbox's policy as its gateway tells it."""
        words = ("sandbox", "get", f"{developer}-main", "--workspace", f"pi-{developer}", "-o", "json")
        policy: dict[str, Any] = json.loads(self.shell(*words))["policy"]
        return policy

    def set_policy(self, developer: str, changes: Mapping[str, Any], *words: str) -> None:
        """Give a sandbox, or all with `--global`, its own policy with changes, by hand."""
        scope = ("--workspace", f"pi-{developer}")
        shown = self.shown_policy(developer)
        path = "/var/lib/pifleet/openshell/client/empty/by-hand.json"
        self.lab.host(HOST).inside("tee", path, input=json.dumps({**shown, **changes}))
        name = () if "--global" in words else (f"{developer}-main", "--wait")
        done = self.pifleet("openshell", HOST, "--", "policy", "set", *name, *scope, "--policy", path, *words)
        self.as_root(f"rm {path}")
        assert done.code == 0, done.err

    def container(self, developer: str) -> str:
        label = f"label=openshell.ai/sandbox-name={developer}-main"
        return self.docker(HOST, "ps", "-aq", "--filter", label).strip()

    def inside(self, developer: str, script: str) -> str:
        return self.pifleet("exec", developer, "--", "sh", "-c", script).out

    def as_root(self, script: str) -> str:
        """What a shell of root's says on the host."""
        return str(self.lab.host(HOST).inside("sh", "-c", script))

    def expire_certificate(self) -> None:
        """Let the gateway's certificate be one that has expired; it is read when the gateway begins."""
        self.as_root(EXPIRED)

    def repaired(self) -> Done:
        """Provision once more, until nothing is left to do."""
        done = self.provision()
        assert done.code == 0, done.err + done.out
        left = self.plan().json["steps"]
        assert left == [], left
        return done

    def with_developers(self, **changed: Mapping[str, Any]) -> Shells:
        """The same farm, with more said about these developers."""
        developers = self.overlay["pifleet_developers"]
        more = {name: {**developers[name], **said} for name, said in changed.items()}
        return replace(self, overlay={**self.overlay, "pifleet_developers": {**developers, **more}})


def overlay(lab: Lab, folder: Path, release: tuple[str, list[dict[str, str]]], key: Path) -> Mapping[str, Any]:
    """Three developers: two with a model that wants a key, one with a script."""
    version, files = release
    keyed = {"api": "anthropic-messages", "base_url": lab.model.keyed_url, "key": {"file": str(key)}}
    token = {"token": {"file": str(lab.git.token_file)}}
    return {
        "pifleet_fleet": "shells",
        "pifleet_results": str(folder / "results"),
        # The lab's hosts have their distribution's own engine, and the double works with that.
        "pifleet_openshell": {"version": version, "packages": files, "engine": "20.10.0"},
        "pifleet_defaults": {"pattern": "openshell", "model": "lab", "cpus": 1, "memory": "768m"},
        "pifleet_models": {"lab": {**keyed, "models": ["lab-1"]}, "dry": {"api": "scripted"}},
        "pifleet_repos": {
            "web": {"url": lab.git.http_url("web"), "ref": "main"},
            "api": {"url": lab.git.http_url("api"), "ref": "main", "auth": token},
        },
        "pifleet_developers": {
            "ana": {"repos": ["web", "api"], "model": "dry"}, "bo": {"repos": ["web"]}, "cy": {"repos": []},
        },
    }
