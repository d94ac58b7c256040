"""Owns the life of a sandbox's places: machine and agent live together, and their service ends in good order.
It must not know what a place is made of."""

import contextlib
import os
import signal
import subprocess
import time

import groups
from place import Place, acceleration

KEEPER = "/usr/local/lib/pifleet/keeper"


def keep(box):
    """Keep machine and agent until one of them ends or this is told to: then nothing of either is left."""
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(True))
    groups.clear(box["id"])
    groups.limit(box)
    runtime = box["runtime"]
    program = runtime + "/programs/machine.js"
    machine = [runtime + "/bin/node", program, "/opt/pifleet/etc/machine.json", acceleration()]
    started = [
        start(box, "machine", machine, "/"),
        start(box, "agent", [KEEPER, "--run", "/run/pifleet/net"], "/workspace", ["--as-pid-1"]),
    ]
    while not over and all(child.poll() is None for child in started):
        time.sleep(0.2)
    pid = groups.first(box["id"], "agent")
    if pid:
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started[1].wait(groups.SECONDS_TO_END)
    groups.clear(box["id"])
    return 0 if over else 1


def start(box, place, words, workdir, first=()):
    """Start a place that stays."""
    argv = Place(box, place).argv(words, workdir, ["--new-session", *first])
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=lambda: groups.join(box["id"], place))


def stop(sandbox):
    """Have the sandbox's service end, as it is kept on this host; nothing happens to one that does not run."""
    service = "pifleet-sandbox-" + sandbox
    if os.path.isdir("/run/systemd/system"):
        os.execvp("systemctl", ["systemctl", "stop", service + ".service"])
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/run/pifleet/%s.pid" % service) as file:
            keeper = int(file.read().split()[0])
        while service in words_of(keeper):
            os.kill(keeper, signal.SIGTERM)
            time.sleep(0.2)


def words_of(pid):
    """The command line of a process. Raises OSError when it is gone."""
    with open("/proc/%d/cmdline" % pid) as file:
        return file.read().split("\0")
