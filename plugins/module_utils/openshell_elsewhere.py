"""Owns how sandboxes are seen and given their settings on a gateway that others run: by its command, and from inside.
It must not reach that gateway's engine; what is said from inside is bounded, and counts for that sandbox alone."""

import json
import shlex
import threading

from ansible_collections.pifleet.fleet.plugins.module_utils import openshell_seen as seen
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import packed
from ansible_collections.pifleet.fleet.plugins.module_utils.openshell import Client, ShellError, command_alone

AGENT_FOLDER = "/home/pi/.pi/agent"
MADE_OF = "pifleet.made-of"
SECONDS = 30
LIMIT = 1 << 16
# Runs in a sandbox: which settings it has, which repositories, and how many pi are at work. What pi calls itself, and
# that /proc ends, as in engine_look.
LOOK = """
import hashlib, json, os, sys
def digest(path):
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(1 << 20)).hexdigest()
    except OSError:
        return ""
def comm(pid):
    try:
        with open("/proc/%s/comm" % pid) as file:
            return file.read(64).strip()
    except OSError:
        return ""
names, repos = json.loads(sys.argv[1])
print(json.dumps({
    "settings": {name: digest(os.path.join("FOLDER", name)) for name in names},
    "repos": {name: os.path.lexists(os.path.join("/workspace", name, ".git")) for name in repos},
    "agent": {"processes": sum(comm(pid) == "pi" for pid in os.listdir("/proc") if pid.isdigit())},
}))
""".replace("FOLDER", AGENT_FOLDER)
# In the fleet's image these names are links to files of root's, which nobody but its engine can write.
GIVE = 'set -e; cd -- "$1"; shift; rm -f -- "$@"; exec tar -xf -'


class There:
    """The same as openshell_seen.Here, for a gateway of which only its command is to be had."""

    def __init__(self, client):
        self.client = client

    def image(self, name):
        """Whether the gateway has it shows when a sandbox is made from it."""
        return name

    def containers(self):
        return {}

    def sandbox(self, found, box, _container):
        """One sandbox; image and limits are those that its label says it was made of."""
        labels = found.get("labels") or {}
        answer = {"phase": found["phase"], "labels": labels, "known": True, "container": found.get("id") or "unknown",
                  "agent": None}
        if found["phase"] == "Error":
            answer["reason"] = found.get("reason") or "its gateway gives no reason"
        if not box:
            return answer
        if labels.get(MADE_OF) == box["labels"].get(MADE_OF):
            answer.update({key: box[key] for key in ("image", "cpus", "memory")})
        shown = self.client.json("sandbox", "get", found["name"], workspace=found["workspace"])
        # Under a policy of all, nothing tells what the sandbox's own is.
        answer["policy"] = None if shown.get("policy_source") == "global" else shown.get("policy") or {}
        answer["set"] = self.client.settings(found["name"], workspace=found["workspace"])
        # What is in one that does not run is seen when it runs again.
        answer.update(settings={name: seen.digest(text) for name, text in box["settings"].items()},
                      repos={repo["name"]: True for repo in box["repos"]}, agent={"processes": 0})
        if found["phase"] == "Ready":
            answer.update(self._inside(found, box))
        return {**answer, "workspace": found["workspace"], "name": found["name"]}

    def give(self, found, texts):
        """Settings as files of the sandbox's user: only an engine could give it files of root's."""
        self._ssh(found, ["sh", "-c", GIVE, "sh", AGENT_FOLDER, *sorted(texts)], packed(texts))

    def forget(self, _found):
        """A gateway that has forgotten a sandbox is asked for nothing more."""

    def _inside(self, found, box):
        wanted = json.dumps([sorted(box["settings"]), [repo["name"] for repo in box["repos"]]])
        said = self._ssh(found, ["python3", "-I", "-c", LOOK, wanted])
        try:
            told = json.loads(said)
            return {
                "settings": {name: str(told["settings"].get(name))[:64] for name in box["settings"]},
                "repos": {repo["name"]: told["repos"].get(repo["name"]) is True for repo in box["repos"]},
                "agent": {"processes": int(told["agent"]["processes"])},
            }
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ShellError("sandbox %s answers something else than it was asked" % found["name"]) from None

    def _ssh(self, found, words, stdin=b""):
        """What a program in a sandbox prints, at most LIMIT bytes of it, within SECONDS. Raises ShellError."""
        ended = ["timeout", "--kill-after=5", str(SECONDS), *words]
        child = self.client.start(self.client.ssh(found["workspace"], found["name"], shlex.join(ended)), stdin=-1)
        timer = threading.Timer(SECONDS + 10, child.kill)
        timer.start()
        try:
            child.stdin.write(stdin)
            child.stdin.close()
            said = child.stdout.read(LIMIT)
            over = child.stdout.read(1)
            if over:
                child.kill()
            code = child.wait()
        except BrokenPipeError:
            code = child.wait()
            said, over = b"", b""
        finally:
            timer.cancel()
        if code or over:
            raise ShellError("sandbox %s cannot be looked into (exit code %d)" % (found["name"], code))
        return said


def observe(spec):
    """What is there of a spec's openshell part, where others run the gateway. Raises ShellError."""
    gateway = spec["openshell"]["gateway"]
    own = {"programs": command_alone(gateway["bin"]), "gateway": {},
           "image": {"id": gateway["image"]["name"]}}
    return seen.look(spec, There(Client(gateway)), own)
