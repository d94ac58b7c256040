"""Owns a farm for tests: a lab's bare hosts, an inventory laid over them, and pifleet run as a user runs it.
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
# Uncommitted and staged changes, an untracked and an ignored file, two stashes, and a rebase that stands at a conflict.
WORK = """
set -eu
cd /workspace/{repo}
export GIT_AUTHOR_NAME=pi GIT_AUTHOR_EMAIL=pi@localhost GIT_COMMITTER_NAME=pi GIT_COMMITTER_EMAIL=pi@localhost
test ! -e untracked || exit 0
for number in 1 2; do echo stash $number > stashed; git add stashed; git stash -q; done
echo base > fought; git add fought; git commit -qm base
git checkout -qb side; echo side > fought; git commit -qam side
git checkout -q -; echo main > fought; git commit -qam main
git rebase side >/dev/null 2>&1 || true
test -d .git/rebase-merge
echo untracked > untracked
echo ignored.log > .gitignore; echo ignored > ignored.log
echo staged > staged; git add staged; echo worktree > staged
"""


@dataclass(frozen=True)
class Done:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Operator:
    """Who runs pifleet in a folder of their own, with the inventories that a subclass names."""

    folder: Path

    @property
    def sources(self) -> list[str]:
        raise NotImplementedError

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def pifleet(self, *words: str, stdin: str = "", timeout: float = 1500, **env: str) -> Done:
        """Run pifleet with these inventories, in their folder."""
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


@dataclass
class Farm(Operator):
    """The hosts of a lab, the inventory `base` (the example's names them farm-1 and farm-2), and what is laid over it.
    """

    lab: Lab
    folder: Path
    overlay: Mapping[str, Any]
    base: Path = EXAMPLE

    @property
    def sources(self) -> list[str]:
        """The inventories, written anew: farms of other overlays use the same folder."""
        (self.folder / "addresses.yml").write_text(self.lab.inventory())
        (self.folder / "overlay.json").write_text(json.dumps({"all": {"vars": self.overlay}}))
        return [str(self.base), str(self.folder / "addresses.yml"), str(self.folder / "overlay.json")]

    def docker(self, host: str, *words: str) -> str:
        return str(self.lab.host(host).inside("docker", *words))

    def home_of(self, title: str) -> str:
        """The host on which a sandbox really runs."""
        for host in self.lab.hosts():
            label = f"label=io.pifleet.sandbox={title}"
            if self.docker(host, "ps", "-aq", "--filter", label).strip():
                return host
        raise AssertionError(f"{title} is on no host")


def small_farm(lab: Lab, folder: Path, **developers: Mapping[str, Any]) -> Farm:
    """A farm of all hosts of a lab, with these developers and nothing that needs a key."""
    base = folder / "base.json"
    base.write_text(json.dumps({"pifleet_docker": {"hosts": {name: {} for name in lab.hosts()}}}))
    return Farm(lab, folder, {
        "pifleet_fleet": "small",
        "pifleet_defaults": {"pattern": "docker", "model": "dry", "cpus": 2, "memory": "1g", "pids": 512},
        "pifleet_models": {"dry": {"api": "scripted"}},
        "pifleet_repos": {"api": {"url": lab.git.http_url("web"), "ref": "main"}},
        "pifleet_results": str(folder / "results"),
        "pifleet_developers": developers,
    }, base)
