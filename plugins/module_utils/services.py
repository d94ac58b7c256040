"""Owns how a process of ours is kept running on a host, by systemd or by our own keep program, and how that is seen.
It must not know what the process does. A service is a dict: name, argv, user ("" is root), reload (a signal or "")."""

import os
import signal
import subprocess
import sys
import time

UNITS = "/etc/systemd/system"
RUN = "/run/pifleet"
LOGS = "/var/log/pifleet"
KEEP = "/usr/local/lib/pifleet/keep"
SECONDS_TO_START = 10
SECONDS_TO_END = 20


class ServiceError(Exception):
    """A service did not do what it was asked; the message says which and what was seen."""


def has_systemd():
    """Whether systemd runs this host (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def kept(systemd=None):
    """The way services are kept on this host."""
    return Systemd() if (has_systemd() if systemd is None else systemd) else Keep()


def observe(service):
    """What is true of a service: is it `running`, does it come back by itself (`enabled`), is it the one `defined`."""
    return kept().observe(service)


class Systemd:
    """Services as systemd units."""

    def observe(self, service):
        shown = self._show(service["name"], "ActiveState", "UnitFileState", "NeedDaemonReload")
        same = _text(self._path(service)) == unit(service) and shown.get("NeedDaemonReload") == "no"
        return {
            "running": shown.get("ActiveState") == "active",
            "enabled": shown.get("UnitFileState") == "enabled",
            "defined": same,
        }

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


class Keep:
    """Services as children of the keep program, which starts them again; nothing starts it at boot."""

    def observe(self, service):
        keeper, child = self._pids(service)
        arguments = _arguments(keeper)
        running = bool(arguments) and _parent(child) == keeper
        return {"running": running, "enabled": True, "defined": arguments == self._argv(service) or not arguments}

    def define(self, service):
        """The definition is the keep program's own command line: ending it forgets the old one."""
        self.stop(service)

    def start(self, service):
        self.stop(service)  # one that never got its process to run may be there
        for folder, mode in ((RUN, 0o755), (LOGS, 0o750)):
            os.makedirs(folder, mode=mode, exist_ok=True)
        with open(os.path.join(LOGS, service["name"] + ".log"), "ab") as log:
            subprocess.Popen(
                [sys.executable, "-IS", *self._argv(service)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd="/", env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                start_new_session=True,
            )
        otherwise = "%s did not start; see %s" % (service["name"], log.name)
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
        words = (_text(os.path.join(RUN, service["name"] + ".pid")) or "").split()
        return (int(words[0]), int(words[1])) if len(words) == 2 and all(map(str.isdigit, words)) else (0, 0)


def _arguments(keeper):
    """The keep program's arguments if this process is one, else []. A recycled process id is not one."""
    words = (_text("/proc/%d/cmdline" % keeper) or "").split("\0")[:-1]
    return words[words.index(KEEP):] if KEEP in words[:3] else []


def _parent(pid):
    # The command in /proc/PID/stat may hold blanks and brackets; the fields after the last bracket do not.
    fields = (_text("/proc/%d/stat" % pid) or "").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[0] != "Z" else 0


def _text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _wait(ready, seconds, otherwise):
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise ServiceError(otherwise)
        time.sleep(0.05)
