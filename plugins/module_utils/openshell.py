"""Owns how a host's OpenShell gateway (0.0.x, Docker driver) is asked: its own command, run as the gateway's client.
It must not judge what the gateway says, nor know what should be there."""

import hashlib
import json
import os
import pwd
import re
import subprocess
import time

SECONDS = 30
PAUSE = 0.5
COMMANDS = {"command": "openshell", "gateway": "openshell-gateway", "supervisor": "openshell-sandbox"}
# What a host has that only reaches a gateway.
COMMAND = {"command": "openshell"}
SUMS = "SHA256SUMS"
FIELD = re.compile(r"^\s+(\w[\w ]*):\s+(.*)$", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


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
            return {"answers": False, "version": "", "error": self._ended() or str(error)}
        version = str(found.get("version") or "")
        return {"answers": bool(version), "version": version, "error": "" if version else str(found.get("status"))}

    def _ended(self):
        """What is said of a client whose certificate has ended: its gateway just cuts it off, without a reason."""
        until = self.gateway["until"]
        if not until or until > time.time():
            return ""
        return "the client's certificate ended on %s: name a new one in pifleet_gateway_tls" % time.strftime(
            "%Y-%m-%d", time.gmtime(until))

    def require(self):
        """Raise ShellError unless command and gateway are of the generation and version that they should be."""
        command, status, wanted = version_of(self.program), self.status(), self.gateway["version"]
        if not status["answers"]:
            raise ShellError("the gateway does not answer: %s" % status["error"])
        if command != wanted or status["version"] != wanted:
            raise ShellError(
                "the openshell command is %s and the gateway %s; both must be %s (generation %s)"
                % (command or "missing", status["version"], wanted, wanted.rpartition(".")[0])
            )

    def sandboxes(self):
        """Every sandbox of every workspace, as the gateway lists them."""
        return self.json("sandbox", "list", "--all-workspaces", "--limit", "1000")

    def on_their_way(self):
        """The names of sandboxes that a gateway which starts again has not yet spoken to."""
        return [found["name"] for found in self.sandboxes() if found["phase"] in ("Provisioning", "Starting")]

    def settle(self, seconds):
        """Wait until the gateway answers, and no sandbox that it found again is still on its way to Ready.

        Raises ShellError where it does not answer in `seconds`, or is of another version; sandboxes may take longer.
        """
        end = time.monotonic() + seconds
        while not self.status()["answers"] and time.monotonic() < end:
            time.sleep(PAUSE)
        self.require()
        while self.on_their_way() and time.monotonic() < end:
            time.sleep(PAUSE)

    def route(self, workspace):
        """Provider and model of the workspace's inference route, or None; the command has no JSON for it."""
        text = COLOUR.sub("", self.call("inference", "get", workspace=workspace))
        own = text.split("System inference:")[0]
        fields = dict(FIELD.findall(own))
        return {"provider": fields["Provider"], "model": fields["Model"]} if "Provider" in fields else None

    def settings(self, *words, workspace=""):
        """What somebody has set: of one sandbox (`words` its name), or with `--global` of all; key -> value."""
        found = json.loads(self.call("settings", "get", *words, "--json", workspace=workspace))["settings"]
        scope = "global" if "--global" in words else "sandbox"
        return {key: value["value"] if isinstance(value, dict) else value for key, value in found.items()
                if not isinstance(value, dict) or value.get("scope", scope) == scope}

    def policy_of_all(self):
        """Whether a policy was set that takes the place of each sandbox's own."""
        try:
            return bool(self.json("policy", "get", "--global"))
        except ShellError as error:
            if "no policy revision" in str(error):
                return False
            raise

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
    """What the three programs in a folder say they are; the supervisor is only ever started inside a sandbox.

    `intact` is whether each is, byte for byte, what came out of the packages.
    """
    return {
        "command": version_of(os.path.join(folder, COMMANDS["command"]), seconds),
        "gateway": version_of(os.path.join(folder, COMMANDS["gateway"]), seconds),
        "supervisor": os.access(os.path.join(folder, COMMANDS["supervisor"]), os.X_OK),
        "intact": sums(folder) == kept_sums(folder),
    }


def command_alone(folder, seconds=SECONDS):
    """The same where there is only the command."""
    version = version_of(os.path.join(folder, COMMAND["command"]), seconds)
    return {"command": version, "intact": sums(folder, COMMAND) == kept_sums(folder)} if version else {}


def sums(folder, commands=COMMANDS):
    """The sha256 of each program: a text as sha256sum(1) prints it."""
    lines = []
    for name in sorted(commands.values()):
        total = hashlib.sha256()
        try:
            with open(os.path.join(folder, name), "rb") as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    total.update(chunk)
        except OSError:
            total = None
        lines.append("%s  %s\n" % (total.hexdigest() if total else "-" * 64, name))
    return "".join(lines)


def kept_sums(folder):
    """What was written down when the packages were installed."""
    try:
        with open(os.path.join(folder, SUMS), encoding="ascii") as file:
            return file.read(4096)
    except (OSError, ValueError):
        return ""
