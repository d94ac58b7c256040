"""Owns one look at a host as root: a spec and a nonce in, what is really there out, each source read once and bounded.
It must not change anything, judge what it sees, follow a link, run git, enter a sandbox or believe a stamp file."""

import json
import os
import pwd
import socket
import sys
import time

from ansible_collections.pifleet.fleet.plugins.module_utils import (
    clients,
    engine_look,
    filters,
    gatewaylog,
    gondolin,
    heads,
    looking,
    paths,
    services,
)

VERSION = 1
SOCKET_SECONDS = 3


def main(request, out=None):
    """Answer `request` ({"spec": ..., "nonce": ...}) on standard output: the nonce on a line, then the JSON document.

    The line lets the reader skip what a login shell printed before.
    """
    answer = json.dumps(observe(request["spec"], request["nonce"]))
    (out or sys.stdout).write("\n%s\n%s\n" % (request["nonce"], answer))


def observe(spec, nonce):
    """Everything that can be seen of what `spec` names. What cannot be seen is null, and `unknown` says why."""
    look = looking.Look()
    answer = _machine(spec)
    answer["unknown"] = look.unknown
    answer["paths"] = look.each("paths", [entry["path"] for entry in spec["dirs"] + spec["files"]], paths.look)
    answer["paths"].update(
        look.each("paths", [entry["path"] for entry in spec["secrets"]], lambda path: paths.look(path, nonce)))
    answer["users"] = look.each("users", [user["name"] for user in spec["users"]], _user)
    answer["packages"] = {entry["name"]: services.installed(entry["command"]) for entry in spec["packages"]}
    defined = {entry["name"]: entry for entry in spec["services"]}
    answer["services"] = look.each("services", defined, lambda name: services.observe(defined[name]))
    for name in look.one("others", lambda: services.others(spec["others"], defined), []):
        answer["services"][name] = {"wanted": False}
    wanted = {entry["path"]: entry for entry in spec["sockets"]}
    answer["sockets"] = look.each("sockets", wanted, lambda path: _health(wanted[path]))
    answer["filters"] = look.each("filters", [entry["rules"] for entry in spec["filters"]], filters.as_file)
    answer["clients"] = look.each("clients", spec["clients"], clients.look)
    answer["repos"] = {box["title"]: look.each("repos/" + box["title"], [repo["name"] for repo in box["repos"]],
                                               _repository(spec, box)) for box in _boxes(spec)}
    answer["gondolin"] = gondolin.observe(spec, look) if spec.get("gondolin") else {}
    answer.update(engine_look.look(spec, look))
    if answer["engine"].get("root"):
        answer["disk"].update(_disk(answer["engine"]["root"]))
    answer["activity"] = look.one("activity", lambda: gatewaylog.activity(spec["gateway_log"]), {})
    answer["foreign"] = look.one("foreign", lambda: list(_foreign(spec, answer)), [])
    return answer


def _machine(spec):
    system = _assignments("/etc/os-release")
    kernel = os.uname()
    return {
        "probe": VERSION,
        "boot_id": (paths.read_file("/proc/sys/kernel/random/boot_id", 64) or b"").decode().strip(),
        "os": {"id": system.get("ID", ""), "version": system.get("VERSION_ID", "")},
        "kernel": kernel.release,
        "arch": kernel.machine,
        "systemd": services.has_systemd(),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "disk": _disk(spec["root"]),
    }


def _assignments(path):
    # /etc/os-release is a link on most systems (os-release(5)), and root's own.
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(65536).splitlines()
    except OSError:
        return {}
    return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}


def _disk(path):
    there = path
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    info = os.statvfs(there)
    return {path: {"free": info.f_bavail * info.f_frsize, "size": info.f_blocks * info.f_frsize}}


def _user(name):
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return {"uid": entry.pw_uid, "gid": entry.pw_gid, "gecos": entry.pw_gecos, "home": entry.pw_dir,
            "shell": entry.pw_shell}


def _health(wanted):
    """What answers on a sandbox's socket when it is asked for its health."""
    path = wanted["path"]
    silent = {"answers": False, "answer": ""}
    seen = paths.look(path)
    if not seen or seen["type"] != "socket":
        return silent
    end = time.monotonic() + SOCKET_SECONDS
    reply = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.settimeout(SOCKET_SECONDS)
            client.connect(path)
            client.sendall(b"GET %s HTTP/1.0\r\nHost: pifleet\r\n\r\n" % wanted["ask"].encode())
            while len(reply) < 8192 and time.monotonic() < end:
                chunk = client.recv(4096)
                if not chunk:
                    break
                reply += chunk
        except OSError:
            return silent
    head, _, body = reply.partition(b"\r\n\r\n")
    answers = head.split(b" ")[1:2] == [b"%d" % wanted["status"]]
    return {"answers": answers, "answer": body.decode("utf-8", "replace").strip() if answers else ""}


def _boxes(spec):
    """The sandboxes whose workspaces are folders of the host."""
    return spec["sandboxes"] + (spec.get("gondolin") or {"sandboxes": []})["sandboxes"]


def _repository(spec, box):
    workspace = os.path.join(spec["root"], "sandboxes", box["id"], "workspace")
    return lambda name: heads.look(os.path.join(workspace, name))


def _foreign(spec, answer):
    """Things in our way that are somebody else's."""
    for user in spec["users"]:
        seen = answer["users"].get(user["name"])
        if seen and seen["gecos"].split(",")[0] != user["gecos"]:
            yield "account %s exists and is not this fleet's (its comment is %r)" % (user["name"], seen["gecos"])
        holder = _holder(user["uid"])
        if holder not in ("", user["name"]):
            yield "uid %d of %s belongs to account %s" % (user["uid"], user["name"], holder)
    for box in spec["sandboxes"]:
        name = box["container"]["name"]
        seen = answer["containers"].get(name)
        if seen and seen["spec"]["labels"].get("io.pifleet.fleet") != spec["fleet"]:
            yield "container %s exists and is not this fleet's" % name


def _holder(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
