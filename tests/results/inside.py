"""Owns what a history does inside a real sandbox: acts by chance, and finding out what is there. It must run with
Python and git alone: `program` carries it, and what it needs of this folder, as one zip file.

    act SEED COUNT     so many acts, then their names, one a line
    bulk SEED MIB      a new file that no compression makes smaller
    hold BOUNDS        what the sandbox holds, as Python writes it down
    clear BOUNDS       take away what no pull can take along
"""

from __future__ import annotations

import ast
import dataclasses
import errno
import io
import os
import sys
import zipfile
from pathlib import Path
from random import Random

from tests.results import file_acts, git_acts
from tests.results.agent import Agent
from tests.results.box import Box
from tests.results.holdings import Bounds, Holdings, Repository, holdings

_HERE = Path(__file__).parent
_MODULES = ("agent", "box", "file_acts", "git_acts", "holdings", "inside")
# Standard input brings the zip file.
BOOT = """
import sys, tempfile
carried = tempfile.NamedTemporaryFile(suffix=".zip")
carried.write(sys.stdin.buffer.read())
carried.flush()
sys.path.insert(0, carried.name)
from tests.results import inside
inside.main(*sys.argv[1:])
"""


class Place(Box):
    """The box that a real sandbox is, seen from inside."""

    def _place(self, base: Path) -> None:
        self.base = self.home = base
        self.workspace, self.api = Path("/workspace"), Path("/workspace/api")
        self.sessions = self.home / ".pi/agent/sessions"


def program() -> bytes:
    """The zip file that BOOT takes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for package in ("tests", "tests/results"):
            file.writestr(f"{package}/__init__.py", "")
        for name in _MODULES:
            file.write(_HERE / f"{name}.py", f"tests/results/{name}.py")
    return packed.getvalue()


def read(told: str) -> Holdings:
    """What `hold` has printed."""
    found = Holdings(**ast.literal_eval(told))
    found.repositories = {path: Repository(**facts) for path, facts in found.repositories.items()}  # type: ignore[arg-type]
    return found


def main(verb: str, asked: str, count: str = "0") -> None:
    box = Place.at(Path.home())
    box.sessions.mkdir(parents=True, exist_ok=True)
    if verb == "act":
        _act(Agent(box, Random(asked)), int(count))
    elif verb == "bulk":
        with (box.workspace / "api" / f"bulk-{asked.replace(':', '-')}").open("wb") as file:
            for number in range(int(count)):
                file.write(Random(f"{asked}:{number}").randbytes(1 << 20))
    elif verb == "hold":
        print(dataclasses.asdict(holdings(box, Bounds(**ast.literal_eval(asked)))))
    elif verb == "clear":
        there = holdings(box, Bounds(**ast.literal_eval(asked)))
        for hurdle in there.hurdles:
            file_acts.removed(box.workspace, hurdle)
        for root in there.repositories:  # the bare ones too, since a copy has its tags
            Agent(box, Random()).git(box.workspace / os.fsdecode(root), "tag", "-d", git_acts.UNNAMED)
    else:
        sys.exit(f"no such verb: {verb}")


def _act(agent: Agent, count: int) -> None:
    for _ in range(count):
        acts = file_acts.ACTS if agent.chance.random() < 0.45 else git_acts.ACTS
        act = agent.chance.choices(list(acts), list(acts.values()))[0]
        print(act.__name__, flush=True)
        try:
            act(agent)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            print("  no space left", flush=True)
