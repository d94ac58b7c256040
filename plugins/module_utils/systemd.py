"""Owns services as systemd units: how one is written, started, told to read its files again, and seen.
It must not know what the service does; its form is that of services.py."""

import os
import subprocess

from ansible_collections.pifleet.fleet.plugins.module_utils import processes
from ansible_collections.pifleet.fleet.plugins.module_utils.processes import ServiceError

UNITS = "/etc/systemd/system"


class Systemd:
    """Services as systemd units."""

    def observe(self, service):
        shown = self._show(service["name"], "ActiveState", "UnitFileState", "NeedDaemonReload")
        same = processes.text(self._path(service)) == unit(service) and shown.get("NeedDaemonReload") == "no"
        return {
            "running": shown.get("ActiveState") == "active",
            "enabled": shown.get("UnitFileState") == "enabled",
            "defined": same,
        }

    def main(self, service):
        """The process id of what runs, or 0."""
        return int(self._show(service["name"], "MainPID").get("MainPID") or 0)

    def named(self):
        """The names of all that could be services of ours."""
        return [name[: -len(".service")] for name in os.listdir(UNITS) if name.endswith(".service")]

    def define(self, service):
        """Write the unit. Its process is stopped before, so that none outlives its definition."""
        self.stop(service)
        with open(self._path(service) + ".new", "w", encoding="utf-8") as file:
            file.write(unit(service))
        os.chmod(self._path(service) + ".new", 0o644)
        os.replace(self._path(service) + ".new", self._path(service))
        self._run("daemon-reload")

    def start(self, service):
        self._run("enable", "--quiet", self._unit(service))
        self._run("reset-failed", self._unit(service), check=False)
        self._run("start", self._unit(service))

    def stop(self, service):
        if self._show(service["name"], "LoadState").get("LoadState") == "loaded":
            self._run("stop", self._unit(service))

    def reload(self, service):
        self._run("kill", "--kill-who=main", "--signal=" + service["reload"], self._unit(service))

    def known(self, service):
        """Whether there is anything of the service to remove."""
        return os.path.lexists(self._path(service))

    def remove(self, service):
        """Stop the service and forget it."""
        self._run("disable", "--quiet", "--now", self._unit(service))
        os.unlink(self._path(service))
        self._run("daemon-reload")

    def _path(self, service):
        return os.path.join(UNITS, self._unit(service))

    @staticmethod
    def _unit(service):
        return service["name"] + ".service"

    def _show(self, name, *properties):
        done = self._run("show", name + ".service", "--property=" + ",".join(properties), check=False)
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)

    @staticmethod
    def _run(*arguments, check=True):
        done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            raise ServiceError("systemctl %s: %s" % (" ".join(arguments), done.stderr.strip()))
        return done


def unit(service):
    """The text of a service's unit file."""
    user = "User=%s\n" % service["user"] if service["user"] else ""
    return (
        "[Unit]\nDescription=%s (pifleet)\nAfter=network.target\nStartLimitIntervalSec=0\n\n"
        "[Service]\nExecStart=%s\n%sRestart=always\nRestartSec=1\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    ) % (service["name"], " ".join(_quoted(word) for word in service["argv"]), user)


def _quoted(word):
    """One word of ExecStart (systemd.service(5), "Command lines")."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if escaped == word and word.split() == [word] else '"%s"' % escaped
