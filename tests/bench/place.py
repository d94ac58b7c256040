"""Owns where measurements happen: a folder on disk that goes away afterwards, the real tools, and what machine this is.
It must not know what is measured."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
GIT_ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1",
           "GIT_AUTHOR_NAME": "ana", "GIT_AUTHOR_EMAIL": "ana@localhost", "GIT_COMMITTER_NAME": "ana",
           "GIT_COMMITTER_EMAIL": "ana@localhost"}
_VERSIONS = {"git": "--version", "rsync": "--version", "tar": "--version", "zstd": "--version"}


class Failed(Exception):
    """Something that had to succeed did not; the text says what, and the last words of it."""


@contextmanager
def scratch(gigabytes: int) -> Iterator[Path]:
    """An empty folder below the checkout, which is on disk where /tmp may be memory. Exits where too little is free."""
    parent = ROOT / ".bench"
    parent.mkdir(exist_ok=True)
    free = shutil.disk_usage(parent).free
    if free < gigabytes * 1_000_000_000:
        sys.exit(f"bench  {free / 1e9:.0f} GB are free in {parent}; {gigabytes} GB are needed")
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def tools() -> dict[str, str]:
    """The first line that each tool says of itself; rsync and zstd are installed where they are missing."""
    missing = [name for name in ("rsync", "zstd") if not shutil.which(name)]
    if missing:
        root = [] if os.geteuid() == 0 else ["sudo"]
        apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
        run([*apt, "update"])
        run([*apt, "install", "-y", "--no-install-recommends", *missing])
    told = {name: run([name, option]).decode().splitlines()[0].strip("* ") for name, option in _VERSIONS.items()}
    return {"python": sys.version.split()[0], **told}


def run(argv: Sequence[str | Path], *, data: bytes = b"", cwd: Path | None = None,
        env: dict[str, str] | None = None) -> bytes:
    """Standard output of a command. Raises Failed."""
    done = subprocess.run(argv, input=data, capture_output=True, cwd=cwd, env=env)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise Failed(f"{' '.join(map(str, argv))[:200]} exited {done.returncode}: {said}")
    return done.stdout


def git(folder: Path, *args: str | Path, data: bytes = b"") -> str:
    return run(["git", *args], data=data, cwd=folder, env=GIT_ENV).decode().strip()


def clear(path: Path) -> None:
    """Remove what an earlier run left there, if anything."""
    shutil.rmtree(path, ignore_errors=True)
