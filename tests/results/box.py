"""A sandbox as a folder of this machine: real git, the real capture program, a local pipe in place of an exec.

What only looks at a box or works in it also runs inside a real sandbox, where there is no pifleet: see inside.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pifleet.results import Pull
    from pifleet.stream import LocalStream

GIT_ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1",
           "GIT_AUTHOR_NAME": "ana", "GIT_AUTHOR_EMAIL": "ana@localhost", "GIT_COMMITTER_NAME": "ana",
           "GIT_COMMITTER_EMAIL": "ana@localhost", "GIT_AUTHOR_DATE": "1700000000 +0000",
           "GIT_COMMITTER_DATE": "1700000000 +0000", "GIT_EDITOR": "true"}


def git(folder: Path, *args: str | bytes, data: bytes = b"", code: int = 0) -> bytes:
    done = subprocess.run(["git", *args], cwd=folder, input=data, env=GIT_ENV, capture_output=True, check=False)
    assert done.returncode == code, (args, done.returncode, done.stderr)
    return done.stdout.strip()


class Box:
    """Workspace with one repository `api` of one commit, session logs, and the results folder they come home to."""

    def __init__(self, base: Path) -> None:
        self._place(base)
        self.sessions.mkdir(parents=True)
        (self.sessions / "one.jsonl").write_text('{"type": "session"}\n')
        self.api.mkdir(parents=True)
        git(self.api, "init", "-q", "-b", "main")
        self.commit("README.md", "hello\n")

    @classmethod
    def at(cls, base: Path) -> Box:
        """The box that is already there."""
        box = cls.__new__(cls)
        box._place(base)
        return box

    def _place(self, base: Path) -> None:
        self.base, self.workspace, self.home = base, base / "workspace", base / "home"
        self.sessions, self.results = self.home / ".pi/agent/sessions", base / "results"
        self.api = self.workspace / "api"

    def commit(self, name: str, text: str, folder: Path | None = None) -> str:
        folder = folder or self.api
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        git(folder, "add", "--", name)
        git(folder, "commit", "-q", "-m", f"change {name}")
        return git(folder, "rev-parse", "HEAD").decode()

    def open(self, argv: Sequence[str]) -> LocalStream:
        """The sandbox's exec: its own home, no environment of ours."""
        from pifleet.stream import LocalStream

        return LocalStream([sys.executable, *argv[1:]], env={"PATH": os.environ["PATH"], "HOME": str(self.home)})

    def pull(self, **changed: Any) -> Pull:
        from pifleet.results import Limits, pull

        asked: dict[str, Any] = {"sandbox": "ana/main", "sandbox_id": "ana-main", "repos": ["api"],
                                 "store": self.results, "workspace": str(self.workspace),
                                 "sessions": str(self.sessions), "limits": Limits(idle=30, total=120)}
        return pull(changed.pop("open_stream", self.open), **(asked | changed))

    def folder(self) -> Path:
        """The plain files of the newest generation."""
        return self.results / "ana/main"

    def home_git(self, *args: str) -> str:
        """Git on the store, by an id or by `ref`."""
        store = self.results / ".store/ana-main.git"
        return git(store, f"--git-dir={store}", *args).decode("utf-8", "surrogateescape")

    def ref(self, name: str, number: int = 1, repo: str = "api") -> str:
        return f"refs/sandbox/ana-main/gen/{number}/repo/{repo}/{name}"

    def stored(self, name: str, path: str, number: int = 1, repo: str = "api") -> str:
        """The text of a file in one of a unit's commits."""
        return self.home_git("cat-file", "blob", f"{self.ref(name, number, repo)}:{path}")


def everything(folder: Path) -> dict[str, Any]:
    """All that a folder holds, by path: type, mode, bytes, times (what a person or a tool could notice)."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        content: Any = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder)).encode("utf-8", "surrogateescape").decode("latin-1")] = (
            facts.st_mode, facts.st_mtime_ns, content)
    return found


def files(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of every plain file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and not path.is_symlink()}
