"""Owns that only one pull of a sandbox runs at a time, and who that is. It must not know what a pull does."""

from __future__ import annotations

import fcntl
import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pifleet.results.limits import Refusal


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the kernel frees it when its holder dies. Raises Refusal busy: who, since when."""
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read(1000) or "just started"
            raise Refusal("busy", f"another pull of this sandbox is running: {who}") from None
        file.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"{_user()} on {socket.gethostname()}, process {os.getpid()}, since {since}")
        file.flush()
        yield


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
