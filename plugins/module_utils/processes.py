"""Owns what /proc says of one process of a service: its children, its parent, when it was started.
It must not know what the process does, or how it is kept running."""

import os
import time


class ServiceError(Exception):
    """A service did not do what it was asked; the message says which and what was seen."""


def children(pid):
    """The process ids of a process's children."""
    found = (text("/proc/%d/task/%d/children" % (pid, pid)) or "").split()
    return [int(child) for child in found]


def command_line(pid):
    """The words of a process, each ended by a NUL; empty when it has ended."""
    return text("/proc/%d/cmdline" % pid) or ""


def started(pid):
    """When a process was started, as time.time() would have told it; 0 when it is gone."""
    fields = stat(pid)
    if not fields:
        return 0
    ticks = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks)


def stat(pid):
    """The fields of proc_pidstat(5) after the command, which may hold blanks and brackets; [] when it has ended."""
    fields = (text("/proc/%d/stat" % pid) or "").rpartition(")")[2].split()
    return fields if fields[:1] != ["Z"] else []


def parent(pid):
    """The process id of a process's parent; 0 when it has ended."""
    fields = stat(pid)
    return int(fields[1]) if fields else 0


def text(path):
    """A file's text; None where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None
