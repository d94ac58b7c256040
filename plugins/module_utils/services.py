"""Owns how a process of ours is kept running on a host, by systemd or by our own keep program, and how that is seen.
It must not know what the process does. A service is a dict: name, argv, user ("" is root), reload (a signal or ""),
reads (files of which only a process that is younger knows what stands in them)."""

import os
import shutil
import time

from ansible_collections.pifleet.fleet.plugins.module_utils import processes
from ansible_collections.pifleet.fleet.plugins.module_utils.keep import COMMANDS, Keep
from ansible_collections.pifleet.fleet.plugins.module_utils.systemd import Systemd

CLOCK_TICKS = 0.03


def installed(command):
    """Whether a command is there for a root login, or a file if it is named by its path."""
    return os.path.exists(command) if "/" in command else bool(shutil.which(command, path=COMMANDS))


def has_systemd():
    """Whether systemd runs this host (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def kept(systemd=None):
    """The way services are kept on this host."""
    return Systemd() if (has_systemd() if systemd is None else systemd) else Keep()


def observe(service):
    """What is true of a service: is it `running`, does it come back by itself (`enabled`), is it the one `defined`,
    do all its processes that are not ending know what it reads (`current`)."""
    way = kept()
    return {**way.observe(service), "current": _knows(way.main(service), service.get("reads", ()))}


def others(prefix, names):
    """The names of services of ours that begin with `prefix` and are none of `names`."""
    return sorted(name for name in kept().named() if prefix and name.startswith(prefix) and name not in names)


def _knows(main, files):
    """Whether the children of a process, or it where it has none, were started after the last change of `files`."""
    changed = max([os.lstat(path).st_ctime for path in files if os.path.lexists(path)], default=0)
    if not main or not changed or changed > time.time():  # a time to come, after the clock was set back, says nothing
        return bool(main)
    working = [pid for pid in processes.children(main) if "shutting down" not in processes.command_line(pid)]
    return all(processes.started(pid) > changed - CLOCK_TICKS for pid in working or [main])
