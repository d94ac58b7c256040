"""Owns how pattern gondolin is seen on a host: its runtime, how machines are accelerated, its sandboxes by their
services; and how one of these is started. It must not enter a sandbox or follow a link of one."""

import hashlib
import json
import os
import re
import stat
import subprocess
import sys

from ansible_collections.pifleet.fleet.plugins.module_utils import paths, processes, services

SERVICE = "pifleet-sandbox-"
VERSION = re.compile(r"version (\d+(?:\.\d+)+)")
OWN = re.compile(r"/pifleet/([a-z0-9-]+)/agent$", re.MULTILINE)
# What a pi that runs calls itself (pi 0.87.1 sets its process title).
AGENT = "pi"
PROC_LIMIT = 100000
PARTS = ("bin", "guest", "images", "node_modules", "package.json")


def main(request, out=None):
    """Do `request` ({"do": "start" or "observe", "service", "nonce"}); answer whether the service runs then."""
    way, service = services.kept(), request["service"]
    error = ""
    running = way.observe(service)["running"]
    try:
        if request["do"] == "start" and not running:
            way.start(service)
    except (processes.ServiceError, OSError) as trouble:
        error = str(trouble)
    answer = {"running": way.observe(service)["running"], "error": error}
    (out or sys.stdout).write("\n%s\n%s\n" % (request["nonce"], json.dumps(answer)))


def observe(spec, look):
    """What is there of the spec's `gondolin`; null and a reason in `unknown` for what could not be seen."""
    wanted = spec["gondolin"]
    agents = look.one("gondolin/agents", _agents)
    boxes = {box["id"]: box for box in wanted["sandboxes"]}
    for name in look.one("gondolin/folders", lambda: _made(spec["root"])) or []:
        boxes.setdefault(name, None)
    return {
        "runtime": look.one("gondolin/runtime", lambda: tree(wanted["runtime"]["path"])),
        "recorded": _line(wanted["runtime"]["record"]),
        "acceleration": _line(wanted["acceleration"]),
        "qemu": look.one("gondolin/qemu", lambda: _qemu(wanted["qemu"]["command"])),
        "kvm": os.path.exists("/dev/kvm"),
        "sandboxes": look.each("gondolin", boxes, lambda name: _sandbox(spec, name, boxes[name], agents)),
    }


def _made(root):
    """The ids of all sandboxes of this pattern that were ever made here and not removed."""
    top = os.path.join(root, "sandboxes")
    names = os.listdir(top) if os.path.isdir(top) else []
    return [name for name in names if paths.look(_told(root, name), largest=0)]


def _told(root, name):
    return os.path.join(root, "sandboxes", name, "etc", "place.json")


def tree(top):
    """A hash over what the folder of a runtime holds: names, kinds, modes, owners, sizes and where links lead.

    Whole contents would take seconds at each look. None where there is no such folder.
    """
    if not os.path.isdir(top):
        return None
    total = hashlib.sha256()
    for part in PARTS:
        for path in _below(os.path.join(top, part)):
            seen = os.lstat(path)
            size = seen.st_size if stat.S_ISREG(seen.st_mode) else 0
            link = os.readlink(path) if stat.S_ISLNK(seen.st_mode) else ""
            told = (os.path.relpath(path, top), seen.st_mode, seen.st_uid, seen.st_gid, size, link)
            total.update(repr(told).encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _below(path):
    """The path and everything below it, in an order that is the same everywhere."""
    yield path
    if os.path.isdir(path) and not os.path.islink(path):
        for name in sorted(os.listdir(path)):
            yield from _below(os.path.join(path, name))


def _line(path):
    """The one line of a file of root's; empty where there is none."""
    return (paths.read_file(path, 4096) or b"").decode("utf-8", "replace").strip()


def _qemu(command):
    """The version of QEMU; empty where it is not installed."""
    if not services.installed(command):
        return ""
    said = subprocess.run([command, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, timeout=10, check=False).stdout.decode("utf-8", "replace")
    found = VERSION.search(said)
    return found.group(1) if found else ""


def _sandbox(spec, name, wanted, agents):
    """A sandbox by what root wrote for it and by its service; None where there is neither."""
    try:
        told = json.loads(paths.read_file(_told(spec["root"], name)) or b"{}")
    except ValueError:
        told = {}
    service = wanted["service"] if wanted else {"name": SERVICE + name, "argv": [], "user": ""}
    way = services.kept()
    if not told and not way.known(service):
        return None
    return {
        "title": told.get("title", ""), "fleet": told.get("fleet", ""), "runtime": told.get("runtime", ""),
        "service": services.observe(service),
        "agent": None if agents is None else {"processes": agents.get(name, 0)},
    }


def _agents():
    """How many processes called like pi each sandbox has, by its control group; one pass over /proc."""
    found = {}
    for pid in [entry for entry in os.listdir("/proc") if entry.isdigit()][:PROC_LIMIT]:
        try:
            with open("/proc/%s/cgroup" % pid, encoding="ascii", errors="replace") as file:
                owner = OWN.search(file.read(65536))
            with open("/proc/%s/comm" % pid, encoding="utf-8", errors="replace") as file:
                name = file.read(64).strip()
        except OSError:
            continue
        if owner and name == AGENT:
            found[owner.group(1)] = found.get(owner.group(1), 0) + 1
    return found
