"""Owns that a program and all that it started ends with whoever launched it, however that one ended. It must not know
what it launches; it is run by its path, `python launch.py PARENT PROGRAM ARGUMENT...`, and needs nothing beside itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(parent: int, argv: list[str]) -> int:
    """Run `argv` to its end and return its exit code.

    ansible-runner kills this process with its process group; ansible-playbook leaves workers behind unless it is told
    to end and can tell them. So it stands in a session of its own, and the death of this process is what tells it.
    """
    _end_with(parent, signal.SIGKILL)
    own = os.getpid()
    child = os.fork()
    if child == 0:
        os.setsid()
        _end_with(own, signal.SIGTERM)
        os.execvp(argv[0], argv)  # noqa: S606 - an argument list, and no shell wanted
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _end_with(parent: int, number: signal.Signals) -> None:
    """Have the kernel send `number` to this process when `parent` ends; it may have ended before."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
