"""A run of a playbook ends with the pifleet that started it, also when that one had no time to say so."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Converges a real fleet of one host, whose ssh port takes connections and says nothing.
CONVERGE = """
import sys
from pifleet.converge import converge
from pifleet.events import silent
from pifleet.fleet import Connection, Host
from tests.unit.fleets import fleet, spec
host = Host("farm-1", ("pifleet_docker",), Connection(address="127.0.0.1", port=int(sys.argv[1]), user="nobody"))
converge({"farm-1": spec(fleet())}, {"farm-1": host}, {}, emit=silent)
"""


def descendants(pid: int) -> list[int]:
    """The processes below this one, in whatever session."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
    parents = dict(zip(map(int, listed[::2]), map(int, listed[1::2]), strict=True))
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_of_a_playbook_outlives_a_killed_pifleet(tmp_path: Path, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        pifleet = subprocess.Popen([sys.executable, "-c", CONVERGE, port], env={**os.environ, "TMPDIR": str(tmp_path)})
        silent.settimeout(60)
        connection, _ = silent.accept()
        below = descendants(pifleet.pid)
        pifleet.send_signal(number)
        pifleet.wait(30)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and any(map(alive, below)):
            time.sleep(0.1)
        left = [pid for pid in below if alive(pid)]
        connection.close()

    assert len(below) > 2
    assert left == []
