"""Owns what of a sandbox can only be told from outside, by root of its host: whether one of the host's own keys got in,
which commits it began with, where the host's own clients look. It must not enter the sandbox, follow a link of it, or
tell a key to anybody."""

import json
import os
import re
import stat
import sys
import time

from ansible_collections.pifleet.fleet.plugins.module_utils import clients, paths
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine

CHUNK = 4 << 20
LONGEST = 8192
SHORTEST = 8
SECONDS = 60
VALUE = re.compile(rb'"(?:Bearer )?([^"]+)";')
REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (r\S+) \S+ \S+ (\d+)")
FOUND_LIMIT = 20


def main(request, out=None):
    """Answer `request` ({"keys", "container" or "group", "root", "clients", "nonce"}) on standard output: the nonce
    on a line, then JSON."""
    words = {key for folder in request["keys"] for key in keys_of(folder)}
    words.update(word.encode() for word in request.get("words", ()) if len(word) >= SHORTEST)
    hunt = Hunt(sorted(words))
    pids = watched(request)
    for pid in pids:
        hunt.process(pid)
    hunt.folder("", request["root"])
    for pid in pids[:1]:
        for name in request.get("inside", ("tmp", "dev/shm", "run")):
            hunt.folder("/" + name, "/proc/%d/root/%s" % (pid, name))
    answer = {"keys": {"known": len(hunt.words), "found": hunt.found[:FOUND_LIMIT], "processes": len(pids),
                       "bytes": hunt.bytes, "whole": hunt.whole}, "bases": bases(request["root"]),
              "clients": {name: clients.look(name) for name in request["clients"]}}
    (out or sys.stdout).write("\n%s\n%s\n" % (request["nonce"], json.dumps(answer)))


def watched(request):
    """The processes to look into: of a control group, of a container, or of the one with some labels, where what root
    runs beside the sandbox may hold keys and is left out."""
    if request.get("group"):
        return grouped(request["group"])
    if not request.get("labels"):
        return processes(request["container"])
    labels = json.dumps({"label": ["%s=%s" % pair for pair in request["labels"].items()]})
    found = [entry["Id"] for entry in Engine().get("/containers/json", {"all": "1", "filters": labels})]
    return [pid for one in found for pid in processes(one) if owner(pid)]


def owner(pid):
    """The user of a process; 0 for one that has ended."""
    try:
        return os.stat("/proc/%d" % pid).st_uid
    except OSError:
        return 0


def keys_of(folder):
    """The values that gateway and proxies put into headers, from the files that they read them from."""
    found = set()
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        content = paths.read_file(os.path.join(folder, name)) or b""
        found.update(value for value in VALUE.findall(content) if len(value) >= SHORTEST)
    return found


def processes(container):
    """The ids of all processes in the container's control group; [] when it does not run."""
    seen = Engine().find("/containers/%s/json" % container)
    return grouped(seen["Id"]) if seen and seen["State"]["Pid"] else []


def grouped(group):
    """The ids of all processes in whose control group's path these words are."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cgroup" % pid, encoding="ascii", errors="replace") as file:
                if group in file.read(65536):
                    found.append(int(pid))
        except OSError:  # it ended in the meantime
            continue
    return sorted(found)


def bases(root):
    """The commit that each repository was cloned at, as the host wrote it down."""
    try:
        told = json.loads(paths.read_file(os.path.join(root, "repos.json")) or b"{}")
        return {name: str(entry.get("base", "")) for name, entry in told.items()}
    except (ValueError, AttributeError):
        return {}


class Hunt:
    """Looks for words in one place after the other, within SECONDS; `whole` tells whether all of it was looked at."""

    def __init__(self, words):
        self.words, self.found, self.bytes, self.whole = words, [], 0, True
        self.end = time.monotonic() + SECONDS

    def process(self, pid):
        """Arguments, environment and memory of a process."""
        for what in ("cmdline", "environ"):
            self._file("%s of process %d" % (what, pid), "/proc/%d/%s" % (pid, what))
        try:
            with open("/proc/%d/maps" % pid) as file:
                regions = [match for match in map(REGION.match, file) if match]
            memory = os.open("/proc/%d/mem" % pid, os.O_RDONLY)
        except OSError:
            return
        try:
            # What is mapped from a file and cannot be written is that file.
            for start, stop, mode, inode in (match.groups() for match in regions):
                if "w" in mode or inode == "0":
                    self._region(pid, memory, int(start, 16), int(stop, 16))
        finally:
            os.close(memory)

    def _region(self, pid, memory, start, stop):
        def read(size):
            nonlocal start
            try:
                data = os.pread(memory, min(size, stop - start), start)
            except (OSError, OverflowError):
                return b""
            start += len(data)
            return data

        self._search("memory of process %d" % pid, read)

    def folder(self, shown, top):
        """Every plain file below a folder; nothing that is a link, or on its way, is followed."""
        try:
            held = paths.open_dir(top) if not shown else os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        except (OSError, paths.PathError):
            return
        try:
            for folder, _, files, at in os.fwalk(".", dir_fd=held, follow_symlinks=False):
                for name in files:
                    self._file(os.path.join(shown or top, folder, name).replace("/./", "/"), name, at)
        finally:
            os.close(held)

    def _file(self, shown, name, at=None):
        try:
            held = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        except OSError:
            return
        with open(held, "rb", buffering=0) as file:
            if stat.S_ISREG(os.fstat(held).st_mode):
                self._search(shown, file.read)

    def _search(self, where, read):
        before = b""
        while self.words:
            if time.monotonic() > self.end:
                self.whole = False
                return
            try:
                data = read(CHUNK)
            except OSError:
                return
            if not data:
                return
            self.bytes += len(data)
            text = before + data
            if any(word in text for word in self.words):
                self.found.append(where[-300:])
                return
            before = text[-LONGEST:]
