"""Owns this machine as the only host of a fleet, for tests: made by an inventory of their own, and removed afterwards.
It must not know a pattern."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.farm import BIN

FREE = [
    pytest.mark.skipif(os.geteuid() != 0, reason="this machine as a host needs root"),
    pytest.mark.skipif(Path("/var/lib/pifleet").exists(), reason="a fleet lives here: scripts/demo --remove"),
]


class Here:
    """Its fleet has one group and one host, `local`."""

    def __init__(self, folder: Path, group: str, developers: Mapping[str, Any], **variables: Any) -> None:
        self.folder, self.developers = folder, developers
        self.inventory = folder / "inventory.json"
        self.inventory.write_text(json.dumps({"all": {
            "vars": {"pifleet_fleet": "here", "pifleet_results": str(folder / "results"),
                     "pifleet_models": {"dry": {"api": "scripted"}}, "pifleet_developers": developers, **variables},
            "children": {group: {"hosts": {"local": {"ansible_connection": "local"}}}},
        }}))

    def pifleet(self, verb: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        at = words.index("--") if "--" in words else len(words)
        argv = [str(BIN / "pifleet"), verb, *words[:at], "-i", str(self.inventory), *words[at:]]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=1500, check=False)

    @contextmanager
    def provisioned(self) -> Iterator[Here]:
        """With everything running, and nothing of it left afterwards."""
        try:
            done = self.pifleet("provision", "--yes")
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            yield self
        finally:
            words = [word for name in self.developers for word in ("--discard", name)]
            gone = self.pifleet("remove", "--host", "local", "--yes", *words)
            assert gone.returncode == 0, gone.stdout[-3000:] + gone.stderr[-3000:]
