"""Owns one look at a gateway: its word on workspaces and sandboxes, joined with the engine's word on containers.
It must not change or judge anything; a sandbox's files are only read, and only few of them."""

import hashlib
import io
import json
import os
import tarfile
from concurrent import futures

from ansible_collections.pifleet.fleet.plugins.module_utils import openshell_trust as trust
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import EngineError, packed
from ansible_collections.pifleet.fleet.plugins.module_utils.openshell import Client, programs, said

LABEL = "openshell.ai/sandbox-"
FLEET = "pifleet.fleet"
ETC = "/opt/pifleet/etc"
TEXT_LIMIT = 1 << 20
# Each asks the gateway's command twice and the engine some times; one after the other, many would take too long.
AT_ONCE = 8


class Here:
    """How sandboxes of a gateway on this host are seen: through its engine. `agents` are by container."""

    def __init__(self, client, engine, agents):
        self.client, self.engine, self.agents = client, engine, agents

    def image(self, name):
        """The id of an image; None where there is none."""
        return (self.engine.find("/images/%s/json" % name) or {}).get("Id")

    def containers(self):
        return containers(self.engine, self.client.gateway["namespace"])

    def sandbox(self, found, box, container):
        return sandbox(self.client, self.engine, found, box, container, self.agents)

    def give(self, found, texts):
        """Settings as files of root's, which what runs in the sandbox cannot write to."""
        with self.engine.open("PUT", "/containers/%s/archive" % found["container"], {"path": ETC},
                              io.BytesIO(packed(texts))):
            pass

    def forget(self, found):
        """Remove the container of a sandbox that its gateway has forgotten."""
        if found["container"]:
            self.engine.delete("/containers/%s" % found["container"], {"force": "1"})


def observe(spec, engine, agents):
    """What is really there of a spec's openshell part. Raises EngineError, ShellError."""
    gateway = spec["openshell"]["gateway"]
    own = {
        "programs": programs(gateway["bin"]), "image": image(engine, gateway["image"]),
        "gateway": {"certificates": trust.certificates(gateway)},
    }
    return look(spec, Here(Client(gateway), engine, agents), own)


def look(spec, way, own):
    """What a gateway says, and what `way` sees of its sandboxes; `own` was seen already. Raises as these do."""
    wanted, client = spec["openshell"], way.client
    gateway = client.gateway
    answer = {
        **own, "workspaces": {}, "left": [], "sandboxes": {},
        "gateway": {**own["gateway"], "registered": trust.registered(gateway), "answers": False, "version": ""},
    }
    status = {"answers": False, "error": "its client does not know it yet"}
    if not os.path.exists(client.program):
        answer["programs"] = {}
    elif answer["gateway"]["registered"]:
        status = client.status()
    answer["gateway"].update(status)
    listed = []
    if status["answers"]:
        listed = client.sandboxes()
        answer["gateway"].update(settings=client.settings("--global"), policy_of_all=client.policy_of_all())
        names = [entry["name"] for entry in wanted["workspaces"]]
        answer["workspaces"], answer["left"] = workspaces(client, names), left(client, names, spec["fleet"])
    boxes = {"%s/%s" % (box["workspace"], box["name"]): box for box in wanted["sandboxes"]}
    made = way.containers()
    found = {key: unlisted(box, status["answers"]) for key, box in boxes.items() if key in made}
    found.update(("%s/%s" % (one["workspace"], one["name"]), one) for one in listed)
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        looks = {key: pool.submit(way.sandbox, one, boxes.get(key), made.get(key))
                 for key, one in found.items()}
        answer["sandboxes"] = {key: seen.result() for key, seen in looks.items()}
    return answer


def unlisted(box, answers):
    """A wanted sandbox whose container is there, while its gateway does not answer, or says nothing of it."""
    return {"name": box["name"], "workspace": box["workspace"], "labels": box["labels"], "known": False,
            "phase": "Error" if answers else "Unknown", "reason": "its gateway has forgotten it" if answers else ""}


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
                "fleet": (there[name].get("labels") or {}).get(FLEET),
                "providers": {one["name"]: {"type": one["type"], "credential_keys": one["credential_keys"],
                                            "config_keys": sorted(one.get("config_keys") or [])} for one in providers},
            }
    return found


def left(client, wanted, fleet):
    """The fleet's workspaces that nobody is wanted in any more, where they still have a provider of ours."""
    prefix = client.gateway["name"] + "-"
    return [one["name"] for one in client.json("workspace", "list")
            if (one.get("labels") or {}).get(FLEET) == fleet and one["name"] not in wanted
            and any(other["name"].startswith(prefix)
                    for other in client.json("provider", "list", workspace=one["name"]))]


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
    answer = {"phase": found["phase"], "labels": found.get("labels") or {}, "container": container, "agent": None,
              "known": found.get("known", True)}
    inspect = engine.find("/containers/%s/json" % container) if container else None
    if inspect:
        host = inspect["HostConfig"]
        answer.update(image=inspect["Image"], cpus=(host.get("NanoCpus") or 0) / 1e9, memory=host.get("Memory") or 0,
                      state=inspect["State"]["Status"])
        answer["agent"] = agents.get(container) if inspect["State"]["Pid"] else {"processes": 0}
    if found["phase"] == "Error":
        answer["reason"] = found.get("reason") or (reason(engine, container) if inspect else "its container is gone")
    if box and inspect and answer["known"]:
        shown = client.json("sandbox", "get", found["name"], workspace=found["workspace"])
        # Under a policy of all, nothing tells what the sandbox's own is.
        answer["policy"] = None if shown.get("policy_source") == "global" else shown.get("policy") or {}
        answer["set"] = client.settings(found["name"], workspace=found["workspace"])
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
