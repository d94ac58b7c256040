"""Owns what a place is given of its host and its sandbox, and entering one.
It must not know what is done in it."""

import os
import shlex
import sys

import groups

ACCELERATION = "/etc/pifleet/gondolin/acceleration"
ROOT = "/var/lib/pifleet/sandboxes"
FOLDERS = ("/etc", "/home", "/opt", "/opt/pifleet", "/sys", "/sys/fs", groups.GROUPS, "/var", "/run", "/run/pifleet")
# What a place has of its host. Bash and git ask for the names of the alternatives, TLS for the authorities.
SHARED = ("/usr", "/etc/alternatives", "/etc/ssl", "/etc/ld.so.cache", "/etc/localtime")
# pi asks nobody but its model (pi 0.87.1, docs: PI_OFFLINE).
PI = ("HOME=/home/pi", "PI_CODING_AGENT_DIR=/home/pi/.pi/agent", "PI_OFFLINE=1", "PI_TELEMETRY=0")
# V8 would let some 16 MB of what is soon over lie before it looks, and malloc keeps a store for each thread.
SMALL = ("NODE_OPTIONS=--max-semi-space-size=1", "MALLOC_ARENA_MAX=1")
MERGED = ("bin", "sbin", "lib", "lib64")


class Place:
    """One place of one sandbox; `box` is what root wrote for it (etc/place.json)."""

    def __init__(self, box, name):
        self.box, self.name = box, name
        self.root = os.path.join(ROOT, box["id"])

    def argv(self, words, workdir, first=()):
        """The program that makes the place and runs `words` in it; it is gone when that ends, with all in it."""
        return [
            "bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try",
            "--die-with-parent", *first, "--hostname", self.box["id"],
            "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP",
            *self._seen(), "--", *self.as_developer(["env", "-i", "--chdir=" + workdir, *self.environment(), *words]),
        ]

    def as_developer(self, words):
        """`words` as the sandbox's user, who can become nobody else."""
        uid = str(self.box["uid"])
        extra = str(os.stat("/dev/kvm").st_gid) if self.name == "machine" and acceleration() == "kvm" else ""
        return ["setpriv", "--reuid", uid, "--regid", uid, *(["--groups", extra] if extra else ["--clear-groups"]),
                "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--", *words]

    def environment(self):
        """All variables of the place, as words for env(1)."""
        runtime = self.box["runtime"]
        words = ["PATH=%s/tools:%s/bin:/usr/local/bin:/usr/bin:/bin" % (runtime, runtime), "LANG=C.UTF-8", *SMALL]
        return [*words, "HOME=/tmp"] if self.name == "machine" else [*words, *PI]

    def _seen(self):
        """What the place has: of the host to read, and of the sandbox."""
        words = [word for folder in FOLDERS for word in ("--dir", folder)]
        for path in SHARED:
            words += ["--ro-bind-try", path, path]
        for name in MERGED:
            words += ["--symlink", "usr/" + name, "/" + name]
        words += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp"]
        words += self._own("etc/passwd", "/etc/passwd", "ro") + self._own("etc/group", "/etc/group", "ro")
        words += self._own("etc", "/opt/pifleet/etc", "ro")
        words += self._limits()
        if self.name == "machine":
            words += self._own("workspace", "/workspace") + self._own("machine", "/run/pifleet/machine")
            words += self._own("out", "/run/pifleet/out", "ro")
            words += ["--dev-bind", "/dev/kvm", "/dev/kvm"] if acceleration() == "kvm" else []
        elif self.name == "agent":
            words += [*self._own("home", "/home/pi"), "--ro-bind", self.box["empty"], "/workspace"]
            words += self._own("net", "/run/pifleet/net", "ro") + self._own("machine", "/run/pifleet/machine", "ro")
        else:
            words += self._own("workspace", "/workspace") + self._own("home", "/home/pi")
        return [*words, "--remount-ro", "/"]

    def _own(self, path, target, mode="rw"):
        return ["--ro-bind" if mode == "ro" else "--bind", os.path.join(self.root, path), target]

    def _limits(self):
        """The sandbox's limits where programs look for them (cgroups(7))."""
        words = []
        for kind, folder in groups.folders(self.box["id"]).items():
            words += ["--ro-bind", folder, os.path.join(groups.GROUPS, kind)]
        return words


def acceleration():
    """How machines run on this host, as one proved by booting: kvm or tcg."""
    with open(ACCELERATION) as file:
        return file.read().split()[0]


def enter(box, name, workdir, words):
    """Become `words` in a place: in the agent's, which is there, or in one of one's own for work."""
    place = Place(box, name)
    if name == "work":
        groups.join(box["id"], name)
        os.execvp("bwrap", place.argv(words, workdir))
    pid = groups.first(box["id"], name)
    if pid is None:
        sys.exit("sandbox %s does not run" % box["id"])
    groups.join(box["id"], name)
    inside = ["env", "-i", "--chdir=" + workdir, *place.environment(), *words]
    if os.isatty(0):  # the terminal out there is none of the devices in there
        inside = ["script", "--quiet", "--return", "--command", "exec " + shlex.join(inside), "/dev/null"]
    os.execvp("nsenter", ["nsenter", "--target", str(pid), "--mount", "--pid", "--net", "--ipc", "--uts", "--",
                          *place.as_developer(inside)])
