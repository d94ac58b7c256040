"""Owns services as children of our keep program, for hosts without systemd: how one is started, ended and seen.
It must not know what the service does; its form is that of services.py."""

import os
import signal
import subprocess
import sys
import time

from ansible_collections.pifleet.fleet.plugins.module_utils import processes
from ansible_collections.pifleet.fleet.plugins.module_utils.processes import ServiceError

RUN = "/run/pifleet"
LOGS = "/var/log/pifleet"
KEEP = "/usr/local/lib/pifleet/keep"
COMMANDS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SECONDS_TO_START = 10
SECONDS_TO_END = 20


class Keep:
    """Services as children of the keep program, which starts them again; nothing starts it at boot."""

    def observe(self, service):
        keeper, child = self._pids(service)
        arguments = _arguments(keeper)
        running = bool(arguments) and processes.parent(child) == keeper
        return {"running": running, "enabled": True, "defined": arguments == self._argv(service) or not arguments}

    def main(self, service):
        """The process id of what runs, or 0."""
        keeper, child = self._pids(service)
        return child if processes.parent(child) == keeper else 0

    def named(self):
        """The names of all that could be services of ours."""
        return [name[: -len(".pid")] for name in os.listdir(RUN) if name.endswith(".pid")] if os.path.isdir(RUN) else []

    def define(self, service):
        """The definition is the keep program's own command line: ending it forgets the old one."""
        self.stop(service)

    def start(self, service):
        self.stop(service)  # one that never got its process to run may be there
        for folder, mode in ((RUN, 0o755), (LOGS, 0o711)):
            os.makedirs(folder, mode=mode, exist_ok=True)
        path = os.path.join(LOGS, service["name"] + ".log")
        with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as log:
            subprocess.Popen(
                [sys.executable, "-IS", *self._argv(service)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd="/", env={"PATH": COMMANDS}, start_new_session=True,
            )
        otherwise = "%s did not start; see %s" % (service["name"], path)
        _wait(lambda: self.observe(service)["running"], SECONDS_TO_START, otherwise)

    def stop(self, service):
        keeper, child = self._pids(service)
        if not _arguments(keeper):
            return
        os.kill(keeper, signal.SIGTERM)
        try:
            _wait(lambda: not _arguments(keeper), SECONDS_TO_END, "")
        except ServiceError:
            for pid in filter(None, (keeper, child)):
                os.kill(pid, signal.SIGKILL)

    def reload(self, service):
        os.kill(self._pids(service)[1], getattr(signal, "SIG" + service["reload"]))

    def known(self, service):
        """Whether there is anything of the service to remove."""
        return bool(_arguments(self._pids(service)[0]))

    def remove(self, service):
        """Stop the service and forget it."""
        self.stop(service)

    @staticmethod
    def _argv(service):
        return [KEEP, service["name"], service["user"], *service["argv"]]

    @staticmethod
    def _pids(service):
        words = (processes.text(os.path.join(RUN, service["name"] + ".pid")) or "").split()
        return (int(words[0]), int(words[1])) if len(words) == 2 and all(map(str.isdigit, words)) else (0, 0)


def _arguments(keeper):
    """The keep program's arguments if this process is one, else []. A recycled process id is not one."""
    words = processes.command_line(keeper).split("\0")[:-1]
    return words[words.index(KEEP):] if KEEP in words[:3] else []


def _wait(ready, seconds, otherwise):
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise ServiceError(otherwise)
        time.sleep(0.05)
