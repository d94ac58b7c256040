"""Owns how a host's OpenShell gateway (0.0.x, Docker driver) is asked: its own command, run as the gateway's client.
It must not judge what it sees: a gateway's word on a sandbox, joined with the engine's word on its container."""

import hashlib
import io
import json
import os
import pwd
import re
import subprocess
import tarfile

from ansible_collections.pifleet.fleet.plugins.module_utils import paths
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import EngineError

SECONDS = 30
LABEL = "openshell.ai/sandbox-"
COMMANDS = {"command": "openshell", "gateway": "openshell-gateway", "supervisor": "openshell-sandbox"}
CERTIFICATES = ("ca.crt", "tls.crt", "tls.key")
ETC = "/opt/pifleet/etc"
FIELD = re.compile(r"^\s+(\w[\w ]*):\s+(.*)$", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TEXT_LIMIT = 1 << 20


class ShellError(Exception):
    """The gateway or its command did not do what it was asked; the message is what it said."""


class Client:
    """The openshell command of one gateway; `gateway` is the spec's openshell.gateway."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.program = os.path.join(gateway["bin"], "openshell")

    def environment(self):
        home = self.gateway["client"]
        return {
            "HOME": home, "XDG_CONFIG_HOME": home + "/config", "XDG_STATE_HOME": home + "/state", "NO_COLOR": "1",
            "OPENSHELL_GATEWAY": self.gateway["name"], "OPENSHELL_TELEMETRY_ENABLED": "false", "LC_ALL": "C.UTF-8",
            "PATH": self.gateway["bin"] + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }

    def start(self, argv, **settings):
        """Start a program as the client's user, in a folder of its own that is empty."""
        account = pwd.getpwnam(self.gateway["client_user"])
        settings.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(
            argv, user=account.pw_uid, group=account.pw_gid, extra_groups=[], umask=0o077,
            cwd=os.path.join(self.gateway["client"], "empty"), start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**self.environment(), **settings.pop("env", {})}, **settings,
        )

    def call(self, *words, workspace="", env=None, seconds=SECONDS):
        """What the command printed. Raises ShellError with what it said instead."""
        scope = ["--workspace", workspace] if workspace else []
        try:
            child = self.start([self.program, *words[:2], *scope, *words[2:]], env=env or {})
        except (OSError, KeyError) as error:
            raise ShellError("the openshell command did not start: %s" % error) from None
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise ShellError("openshell %s did not end within %d s" % (" ".join(words[:2]), seconds)) from None
        if child.returncode:
            raise ShellError(said(err) or "openshell %s: exit code %d" % (" ".join(words[:2]), child.returncode))
        return out.decode("utf-8", "replace")

    def json(self, *words, workspace=""):
        """The JSON document that the command printed. Raises ShellError."""
        text = self.call(*words, "-o", "json", workspace=workspace)
        try:
            return json.loads(text or "[]")
        except ValueError:
            raise ShellError("openshell %s printed no JSON" % " ".join(words[:2])) from None

    def status(self):
        """What the gateway says of itself: answers, version, error."""
        try:
            found = self.json("status")
        except ShellError as error:
            return {"answers": False, "version": "", "error": str(error)}
        version = str(found.get("version") or "")
        return {"answers": bool(version), "version": version, "error": "" if version else str(found.get("status"))}

    def require(self):
        """Raise ShellError unless command and gateway are of the generation and version that they should be."""
        command, status, wanted = version_of(self.program), self.status(), self.gateway["version"]
        if not status["answers"]:
            raise ShellError("the gateway does not answer: %s" % status["error"])
        if command != wanted or status["version"] != wanted:
            raise ShellError(
                "the openshell command is %s and the gateway %s; both must be %s (generation %s)"
                % (command or "missing", status["version"], wanted, self.gateway["generation"])
            )

    def sandboxes(self):
        """Every sandbox of every workspace, as the gateway lists them."""
        return self.json("sandbox", "list", "--all-workspaces", "--limit", "1000")

    def on_their_way(self):
        """The names of sandboxes that a gateway which starts again has not yet spoken to."""
        return [found["name"] for found in self.sandboxes() if found["phase"] in ("Provisioning", "Starting")]

    def route(self, workspace):
        """Provider and model of the workspace's inference route, or None; the command has no JSON for it."""
        text = COLOUR.sub("", self.call("inference", "get", workspace=workspace))
        own = text.split("System inference:")[0]
        fields = dict(FIELD.findall(own))
        return {"provider": fields["Provider"], "model": fields["Model"]} if "Provider" in fields else None

    def ssh(self, workspace, name, *words):
        """The argument list that runs `words` in a sandbox over ssh, as `sandbox ssh-config` says."""
        stanza = self.call("sandbox", "ssh-config", name, workspace=workspace)
        pairs = [line.strip().split(None, 1) for line in stanza.splitlines() if line.strip()]
        alias = next(value for key, value in pairs if key == "Host")
        options = ["%s=%s" % (key, value) for key, value in pairs if key != "Host"]
        argv = ["ssh", "-F", "none", "-T", "-o", "BatchMode=yes"]
        return [*argv, *(part for option in options for part in ("-o", option)), "--", alias, *words]


def said(text):
    """The lines of an error that say something, in one; colours, box drawing and control characters left out."""
    plain = COLOUR.sub("", text.decode("utf-8", "replace"))
    lines = [re.sub(r"[^\x20-\x7e]+", " ", line).strip() for line in plain.splitlines()]
    return "; ".join([line for line in lines if line][:4])[:400]


def version_of(program, seconds=SECONDS):
    """The version that a program says it has, or an empty text where it says none within `seconds`."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds,
                              env={"HOME": "/root", "PATH": "/usr/bin:/bin"})
    except (OSError, subprocess.SubprocessError):
        return ""
    words = done.stdout.decode("utf-8", "replace").split()
    return words[-1] if words and not done.returncode else ""


def programs(folder, seconds=SECONDS):
    """What the three programs in a folder say they are; the supervisor is only ever started inside a sandbox."""
    return {
        "command": version_of(os.path.join(folder, COMMANDS["command"]), seconds),
        "gateway": version_of(os.path.join(folder, COMMANDS["gateway"]), seconds),
        "supervisor": os.access(os.path.join(folder, COMMANDS["supervisor"]), os.X_OK),
    }


def observe(spec, engine, agents):
    """What is really there of a spec's openshell part. Raises EngineError."""
    wanted = spec["openshell"]
    gateway, client = wanted["gateway"], Client(wanted["gateway"])
    answer = {
        "programs": programs(gateway["bin"]),
        "gateway": {"certificates": certificates(gateway), "registered": registered(gateway), "answers": False,
                    "version": ""},
        "image": image(engine, gateway["image"]), "workspaces": {}, "sandboxes": {},
    }
    if not os.path.exists(client.program):
        return {**answer, "programs": {}}
    status = client.status() if answer["gateway"]["registered"] else {"answers": False, "error": "not registered"}
    answer["gateway"].update(status)
    if not status["answers"]:
        return answer
    answer["workspaces"] = workspaces(client, [entry["name"] for entry in wanted["workspaces"]])
    boxes = {"%s/%s" % (box["workspace"], box["name"]): box for box in wanted["sandboxes"]}
    made = containers(engine, gateway["namespace"])
    for found in client.sandboxes():
        key = "%s/%s" % (found["workspace"], found["name"])
        answer["sandboxes"][key] = sandbox(client, engine, found, boxes.get(key), made.get(key), agents)
    return answer


def certificates(gateway):
    """Whether the gateway has a whole bundle of certificates."""
    folder = os.path.join(gateway["state"], "state/openshell/tls")
    names = ("ca.crt", "ca.key", "server/tls.crt", "server/tls.key", "client/tls.crt", "client/tls.key")
    return all((paths.look(os.path.join(folder, name)) or {}).get("type") == "file" for name in names)


def registration(gateway):
    """The files by which the client knows its gateway, apart from certificates: path -> content."""
    folder = os.path.join(gateway["client"], "config/openshell/gateways", gateway["name"])
    metadata = {"name": gateway["name"], "gateway_endpoint": gateway["endpoint"], "is_remote": False, "gateway_port": 0,
                "auth_mode": "mtls"}
    return folder, json.dumps(metadata, indent=2, sort_keys=True) + "\n"


def registered(gateway):
    """Whether the client knows this gateway, by certificates that are the gateway's own of today."""
    folder, metadata = registration(gateway)
    if (paths.read_file(os.path.join(folder, "metadata.json")) or b"").decode("utf-8", "replace") != metadata:
        return False
    for name, source in sources(gateway).items():
        content = paths.read_file(source)
        if content is None or paths.read_file(os.path.join(folder, "mtls", name)) != content:
            return False
    return True


def sources(gateway):
    """Where the gateway keeps what its client needs: name -> path."""
    folder = os.path.join(gateway["state"], "state/openshell/tls")
    return {"ca.crt": folder + "/ca.crt", "tls.crt": folder + "/client/tls.crt", "tls.key": folder + "/client/tls.key"}


def image(engine, wanted):
    """The layered image as the engine has it, and whether the name that `--from pi` means is the same one."""
    found = engine.find("/images/%s/json" % wanted["name"])
    if not found:
        return {}
    seed = engine.find("/images/%s/json" % wanted["seed_name"]) or {}
    config = found.get("Config") or {}
    return {"id": found["Id"], "base": (config.get("Labels") or {}).get("io.pifleet.openshell", ""),
            "user": config.get("User") or "", "seed_name": seed.get("Id") == found["Id"]}


def workspaces(client, wanted):
    """Phase, providers and route of the wanted workspaces that there are."""
    there = {one["name"]: one for one in client.json("workspace", "list")}
    found = {}
    for name in wanted:
        if name in there:
            providers = client.json("provider", "list", workspace=name)
            found[name] = {
                "phase": there[name]["status"], "route": client.route(name),
                "providers": {one["name"]: {"type": one["type"], "credential_keys": one["credential_keys"],
                                            "config_keys": sorted(one.get("config_keys") or [])} for one in providers},
            }
    return found


def containers(engine, namespace):
    """The ids of the gateway's containers by "workspace/name"."""
    mine = json.dumps({"label": ["%snamespace=%s" % (LABEL, namespace)]})
    found = {}
    for entry in engine.get("/containers/json", {"all": "1", "filters": mine}):
        labels = entry.get("Labels") or {}
        found["%s/%s" % (labels.get(LABEL + "workspace"), labels.get(LABEL + "name"))] = entry["Id"]
    return found


def sandbox(client, engine, found, box, container, agents):
    """One sandbox: what the gateway says, its container, and of a wanted one also policy, settings and repositories."""
    answer = {"phase": found["phase"], "labels": found.get("labels") or {}, "container": container, "agent": None}
    inspect = engine.find("/containers/%s/json" % container) if container else None
    if inspect:
        host = inspect["HostConfig"]
        answer.update(image=inspect["Image"], cpus=(host.get("NanoCpus") or 0) / 1e9, memory=host.get("Memory") or 0,
                      state=inspect["State"]["Status"])
        answer["agent"] = agents.get(container) if inspect["State"]["Pid"] else {"processes": 0}
    if found["phase"] == "Error":
        answer["reason"] = reason(engine, container) if inspect else "its container is gone"
    if box and inspect:
        shown = client.json("sandbox", "get", found["name"], workspace=found["workspace"])
        answer["policy"] = shown.get("policy") or {}
        answer["settings"] = settings(engine, container, box["settings"])
        answer["repos"] = {name: present(engine, container, "/workspace/%s/.git" % name)
                           for name in (repo["name"] for repo in box["repos"])}
    return answer


def reason(engine, container):
    """The last thing that a sandbox's container said: the gateway itself only says that it exited."""
    with engine.open("GET", "/containers/%s/logs" % container, {"stdout": "1", "stderr": "1", "tail": "5"}) as response:
        text = response.read(65536)
    return said(text).split("; ")[-1]


def present(engine, container, path):
    """Whether something has this path in a container; the engine resolves it within the container's own files."""
    try:
        with engine.open("HEAD", "/containers/%s/archive" % container, {"path": path}):
            return True
    except EngineError as error:
        if error.status == 404:
            return False
        raise


def fixed(policy):
    """The part of a policy that is decided when a sandbox is made; the order of paths means nothing."""
    found = {key: policy.get(key) for key in ("filesystem_policy", "landlock", "process")}
    files = found["filesystem_policy"] or {}
    found["filesystem_policy"] = {key: sorted(value) if isinstance(value, list) else value
                                  for key, value in files.items()}
    return found


def digest(text):
    """The sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def settings(engine, container, names):
    """The sha256 of each settings file in a container, where it is a plain file of root's."""
    found = {}
    for name in names:
        try:
            with engine.open("GET", "/containers/%s/archive" % container, {"path": "%s/%s" % (ETC, name)}) as response:
                data = response.read(TEXT_LIMIT)
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                member = archive.next()
                plain = member and member.isreg() and member.uid == 0 and member.mode & 0o022 == 0
                content = archive.extractfile(member).read() if plain else None
        except (EngineError, tarfile.TarError):
            content = None
        found[name] = hashlib.sha256(content).hexdigest() if content is not None else ""
    return found
