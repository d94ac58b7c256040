"""Owns a farm for tests: a lab's bare hosts, the example inventory laid over them, and pifleet run as a user runs it.
It must not reach into pifleet: everything goes through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.farm import Lab

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
EXAMPLE = ROOT / "inventory" / "farm.yml"


@dataclass(frozen=True)
class Done:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Farm:
    """The hosts farm-1 and farm-2 of a lab, `inventory/farm.yml`, and a second inventory made for this lab."""

    lab: Lab
    folder: Path
    overlay: Mapping[str, Any]

    @property
    def sources(self) -> list[str]:
        """The inventories, written anew: farms of other overlays use the same folder."""
        (self.folder / "addresses.yml").write_text(self.lab.inventory())
        (self.folder / "overlay.json").write_text(json.dumps({"all": {"vars": self.overlay}}))
        return [str(EXAMPLE), str(self.folder / "addresses.yml"), str(self.folder / "overlay.json")]

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def pifleet(self, *words: str, stdin: str = "", timeout: float = 1500, **env: str) -> Done:
        """Run pifleet with this farm's inventories, in the farm's own folder."""
        sources = [part for source in self.sources for part in ("-i", source)]
        at = words.index("--") if "--" in words else len(words)
        argv = [str(BIN / "pifleet"), *words[:at], *sources, *words[at:]]
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, errors="replace", cwd=self.folder, timeout=timeout,
            env={**os.environ, "NO_COLOR": "1", **env},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def plan(self, *words: str) -> Done:
        return self.pifleet("plan", "-o", "json", *words)

    def provision(self, *words: str) -> Done:
        return self.pifleet("provision", "--yes", "-o", "json", *words)

    def docker(self, host: str, *words: str) -> str:
        return str(self.lab.host(host).inside("docker", *words))

    def home_of(self, title: str) -> str:
        """The host on which a sandbox really runs."""
        for host in self.lab.hosts():
            label = f"label=io.pifleet.sandbox={title}"
            if self.docker(host, "ps", "-aq", "--filter", label).strip():
                return host
        raise AssertionError(f"{title} is on no host")
