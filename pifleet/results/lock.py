"""Owns that one thing at a time is done with a sandbox's results, and who does what since when.
It must not know how any of it is done."""

from __future__ import annotations

import fcntl
import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pifleet.errors import SandboxFailed
from pifleet.results.limits import Refusal


@contextmanager
def held(path: Path, what: str = "pull") -> Iterator[None]:
    """Hold the lock file `path`; the kernel frees it when its holder dies. Raises Refusal busy: what, who, since when.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read(1000) or "just started"
            raise Refusal("busy", f"something else is under way: {who}") from None
        file.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"{what} by {_user()} on {socket.gethostname()}, process {os.getpid()}, since {since}")
        file.flush()
        yield


@contextmanager
def reserved(results: Path, sandbox_id: str, what: str) -> Iterator[None]:
    """Keep pulls and all else that needs a sandbox's results waiting. Raises SandboxFailed: what, who, since when."""
    folder = results / ".store"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with held(folder / f"{sandbox_id}.lock", what):
            yield
    except Refusal as refusal:
        if refusal.code != "busy":
            raise
        raise SandboxFailed(f"{sandbox_id} is busy", saw=str(refusal), try_="wait until that has ended") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
