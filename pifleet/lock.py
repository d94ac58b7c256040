"""Owns that one controller at a time changes a host: a lock that an open connection holds and that dies with it.
It must not know what is changed meanwhile."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from pifleet.connection import connect
from pifleet.errors import HostFailed, PifleetError, Trouble
from pifleet.fleet import Host
from pifleet.stream import StreamTimeout

PATIENCE = 30.0

# Runs on the host: holds the lock until its standard input ends, which it does when the controller or the line dies.
_HOLDER = """
import fcntl, os, sys
os.makedirs("/run/pifleet", 0o755, exist_ok=True)
lock = os.fdopen(os.open("/run/pifleet/lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.stdout.write(lock.read(1000))
    sys.exit(75)
lock.truncate(0)
lock.write(sys.argv[1])
lock.flush()
sys.stdout.write("held")
sys.stdout.flush()
sys.stdin.read()
"""


@contextmanager
def locked(hosts: Mapping[str, Host]) -> Iterator[dict[str, Trouble]]:
    """Hold the locks of these hosts while the block runs; yields why a host's lock could not be had, by its name."""
    troubles: dict[str, Trouble] = {}
    with ExitStack() as held:
        for name, host in hosts.items():
            try:
                held.enter_context(_held(host))
            except PifleetError as error:
                troubles[name] = error.trouble
        yield troubles


@contextmanager
def _held(host: Host) -> Iterator[None]:
    with connect(host) as link:
        stream = link.stream([host.connection.python, "-IS", "-c", _HOLDER, json.dumps(_me())], root=True)
        try:
            said = stream.read(1000, PATIENCE).decode(errors="replace")
            if said != "held":
                raise _busy(host, said)
            yield
        except StreamTimeout:
            again = f"pifleet doctor --limit {host.name}"
            raise HostFailed(f"{host.name}: its lock gave no answer", try_=again) from None
        finally:
            stream.close()


def _me() -> dict[str, str]:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {"who": f"{getpass.getuser()}@{socket.gethostname()}", "pid": str(os.getpid()), "since": since}


def _busy(host: Host, said: str) -> HostFailed:
    try:
        holder = json.loads(said)
        saw = f"{holder['who']} (process {holder['pid']}) since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        saw = "another controller"
    return HostFailed(
        f"{host.name} is being changed by somebody else", saw=saw, where=f"host {host.name}",
        try_="wait until that run ends, then the same command again",
    )
