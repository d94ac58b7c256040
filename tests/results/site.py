"""Owns the place in which tripwires lie: a box, traps that leave a mark when they are run, a victim to be changed.
It must not know pifleet beyond what a box is."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from tests.results.box import GIT_ENV, Box, everything, git

CARELESS_ENV = {name: value for name, value in GIT_ENV.items() if name != "GIT_EDITOR"}


class Site:
    """A box full of wires: each has a repository of its own, a trap to be run, and a victim to be changed."""

    def __init__(self, base: Path) -> None:
        self.box = Box(base / "box")
        self.traps, self.victim, self._sprung = base / "traps", base / "victim", base / "sprung"
        for folder in (self.traps, self.victim, self._sprung):
            folder.mkdir()
        (self.victim / "secret").write_text("untouched\n")
        self._victim = everything(self.victim)

    def trap(self, name: str) -> str:
        """A program that leaves a mark and then does as if nothing were."""
        path = self.traps / name
        path.write_text(f"#!/bin/sh\necho sprung >>{shlex.quote(str(self._sprung / name))}\nexit 0\n")
        path.chmod(0o755)
        return str(path)

    def fired(self) -> list[str]:
        changed = ["victim"] if everything(self.victim) != self._victim else []
        return sorted(path.name for path in self._sprung.iterdir()) + changed

    def repo(self, name: str) -> Path:
        """The wire's own repository: two commits, a branch `other`, a changed file, attributes that ask for drivers."""
        root = self.box.workspace / name
        if not root.exists():
            root.mkdir()
            git(root, "init", "-q", "-b", "main")
            (root / ".gitattributes").write_text("*.trip filter=trip diff=trip merge=trip\n")
            for text in ("one\n", "two\n"):
                self.box.commit("a.trip", text, root)
            git(root, "checkout", "-q", "-b", "other", "HEAD~1")
            self.box.commit("a.trip", "other\n", root)
            git(root, "checkout", "-q", "main")
            (root / "a.trip").write_text("changed\n")
        return root

    def careless(self, folder: Path, *argv: str, data: str = "", **env: str) -> None:
        """Run a command as nobody should on what a sandbox made."""
        subprocess.run(argv, cwd=folder, input=data.encode(), env=CARELESS_ENV | env, capture_output=True,
                       check=False, timeout=30)
