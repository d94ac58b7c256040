"""Owns one look at a host as root: a spec and a nonce in, what is really there out, each source read once and bounded.
It must not change anything, judge what it sees, follow a link, run git, enter a sandbox or believe a stamp file."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import sys
import time
from contextlib import contextmanager

from ansible_collections.pifleet.fleet.plugins.module_utils import containers, paths, services
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

VERSION = 1
SECTION_SECONDS = 15
ENGINE_SECONDS = 10
SOCKET_SECONDS = 3
PROC_LIMIT = 100000
REF_BYTES = 4096
COMMANDS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a running pi calls itself (pi 0.87.1 sets its process title).
AGENT = "pi"
SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
BRANCH = re.compile(r"refs/heads/([A-Za-z0-9_+=@,%#-][A-Za-z0-9_.+=@,%#/-]{0,199})")


class Late(Exception):
    """A part of the look took longer than it may."""


def main(request, out=None):
    """Answer `request` ({"spec": ..., "nonce": ...}) on standard output: the nonce on a line, then the JSON document.

    The line lets the reader skip what a login shell printed before.
    """
    answer = json.dumps(observe(request["spec"], request["nonce"]))
    (out or sys.stdout).write("\n%s\n%s\n" % (request["nonce"], answer))


def observe(spec, nonce):
    """Everything that can be seen of what `spec` names. What cannot be seen is null, and `unknown` says why."""
    look = _Look()
    answer = _machine(spec)
    answer["unknown"] = look.unknown
    answer["paths"] = look.each("paths", [entry["path"] for entry in spec["dirs"] + spec["files"]], paths.look)
    answer["paths"].update(
        look.each("paths", [entry["path"] for entry in spec["secrets"]], lambda path: paths.look(path, nonce)))
    answer["users"] = look.each("users", [user["name"] for user in spec["users"]], _user)
    answer["packages"] = {entry["name"]: bool(shutil.which(entry["command"], path=COMMANDS))
                          for entry in spec["packages"]}
    wanted = {entry["name"]: entry for entry in spec["services"]}
    answer["services"] = look.each("services", wanted, lambda name: services.observe(wanted[name]))
    answer["sockets"] = look.each("sockets", [entry["path"] for entry in spec["sockets"]], _health)
    answer["repos"] = {box["title"]: look.each("repos/" + box["title"], [repo["name"] for repo in box["repos"]],
                                               _repository(spec, box)) for box in spec["sandboxes"]}
    answer.update(_engine(spec, look))
    if answer["engine"].get("root"):
        answer["disk"].update(_disk(answer["engine"]["root"]))
    answer["foreign"] = look.one("foreign", lambda: list(_foreign(spec, answer)), [])
    return answer


class _Look:
    """Bounds every part of the look in time and remembers what could not be seen."""

    def __init__(self):
        self.unknown = {}

    def one(self, name, see, otherwise=None):
        try:
            with _time(SECTION_SECONDS):
                return see()
        except Exception as error:  # whatever it is, it is one thing that was not seen
            self.unknown[name] = _reason(error)
            return otherwise

    def each(self, section, names, see):
        """`see` of every name, all within the time of one part."""
        found, end = {}, time.monotonic() + SECTION_SECONDS
        for name in names:
            try:
                with _time(end - time.monotonic()):
                    found[name] = see(name)
            except Exception as error:  # as above
                found[name] = None
                self.unknown["%s/%s" % (section, name)] = _reason(error)
        return found


@contextmanager
def _time(seconds):
    if seconds <= 0:
        raise Late("no time was left to look")

    def late(*_):
        raise Late("looking took more than %d s" % SECTION_SECONDS)

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _reason(error):
    return "%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__


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


def _health(path):
    """What answers on a sandbox's model socket."""
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
            client.sendall(b"GET /.pifleet/health HTTP/1.0\r\nHost: pifleet\r\n\r\n")
            while len(reply) < 8192 and time.monotonic() < end:
                chunk = client.recv(4096)
                if not chunk:
                    break
                reply += chunk
        except OSError:
            return silent
    head, _, body = reply.partition(b"\r\n\r\n")
    answers = head.split(b" ")[1:2] == [b"200"]
    return {"answers": answers, "answer": body.decode("utf-8", "replace").strip() if answers else ""}


def _repository(spec, box):
    workspace = os.path.join(spec["root"], "sandboxes", box["id"], "workspace")

    def see(name):
        if paths.look(os.path.join(workspace, name), largest=0) is None:
            return None
        return _head(os.path.join(workspace, name, ".git"))

    return see


def _head(git):
    """The commit and branch a repository says it is at; empty where it says nothing that can be believed."""
    text = (paths.read_file(os.path.join(git, "HEAD"), REF_BYTES) or b"").decode("ascii", "replace").strip()
    if SHA.fullmatch(text):
        return {"head": text, "branch": ""}
    branch = BRANCH.fullmatch(text[5:].strip()) if text.startswith("ref: ") else None
    if not branch or any(part in ("", ".", "..") for part in branch.group(1).split("/")):
        return {"head": "", "branch": ""}
    loose = (paths.read_file(os.path.join(git, branch.group(0)), REF_BYTES) or b"").decode("ascii", "replace").strip()
    head = loose if SHA.fullmatch(loose) else _packed(git, branch.group(0))
    return {"head": head, "branch": branch.group(1)}


def _packed(git, ref):
    for line in (paths.read_file(os.path.join(git, "packed-refs")) or b"").splitlines():
        sha, _, name = line.decode("ascii", "replace").partition(" ")
        if name == ref and SHA.fullmatch(sha):
            return sha
    return ""


def _engine(spec, look):
    names = [box["container"]["name"] for box in spec["sandboxes"]]
    image = spec["image"]["name"]
    blind = {"images": {image: None}, "containers": dict.fromkeys(names)}
    engine = Engine(timeout=ENGINE_SECONDS)
    state = look.one("engine", lambda: _engine_state(engine))
    if not state or not state["answers"]:
        why = (state or {}).get("error") or look.unknown["engine"]
        look.unknown.update({"images/" + image: why, "containers": why})
        return {"engine": state or {"answers": False, "error": why}, **blind}
    images = look.each("images", [image], lambda name: _image(engine.find("/images/%s/json" % name)))
    listed = look.one("containers", lambda: _listed(engine, spec["fleet"]), {})
    see = _container(engine, listed, look.one("agents", _agents, {}), look)
    seen = look.each("containers", sorted({*listed, *names}), see)
    return {"engine": state, "images": images, "containers": seen}


def _engine_state(engine):
    try:
        version, info = engine.get("/version"), engine.get("/info")
    except EngineError as error:
        return {"answers": False, "error": error.message}
    return {"answers": True, "version": version["Version"], "live_restore": bool(info.get("LiveRestoreEnabled")),
            "root": info.get("DockerRootDir") or ""}


def _image(found):
    if found is None:
        return None
    config = found.get("Config") or {}
    return {"id": found["Id"], "hash": (config.get("Labels") or {}).get("io.pifleet.image", ""),
            "entrypoint": config.get("Entrypoint") or [], "workdir": config.get("WorkingDir") or ""}


def _listed(engine, fleet):
    """The ids of all containers that carry the fleet's label, by name."""
    mine = json.dumps({"label": ["io.pifleet.fleet=" + fleet]})
    listed = engine.get("/containers/json", {"all": "1", "filters": mine})
    return {entry["Names"][0].lstrip("/"): entry["Id"] for entry in listed if entry.get("Names")}


def _container(engine, listed, agents, look):
    images = {}

    def see(name):
        inspect = engine.find("/containers/%s/json" % listed.get(name, name))
        if inspect is None:
            return None
        image = inspect["Image"]
        if image not in images:
            images[image] = engine.find("/images/%s/json" % image)
        state = inspect["State"]
        agent = agents.get(inspect["Id"]) if state["Pid"] else {"processes": 0}
        if agent is None:
            look.unknown["containers/%s/agent" % name] = "none of its processes is to be seen in /proc"
        began = state["Status"] in ("running", "paused", "restarting")
        return {
            "id": inspect["Id"],
            "state": state["Status"],
            "since": state["StartedAt" if began else "FinishedAt"],
            "spec": containers.normalise(inspect, images[image]),
            "agent": agent,
        }

    return see


def _agents():
    """For each container id, how many processes of its control group are called like pi; one pass over /proc.

    The engine's own `top` reads the same control groups, but needs a `ps` on the host and runs it once a container.
    """
    found = {}
    for pid in [entry for entry in os.listdir("/proc") if entry.isdigit()][:PROC_LIMIT]:
        try:
            with open("/proc/%s/cgroup" % pid, encoding="ascii", errors="replace") as file:
                owner = re.search(r"[0-9a-f]{64}", file.read(65536))
            with open("/proc/%s/comm" % pid, encoding="utf-8", errors="replace") as file:
                name = file.read(64).strip()
        except OSError:
            continue
        if owner:
            agent = found.setdefault(owner.group(), {"processes": 0})
            agent["processes"] += name == AGENT
    return found


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
