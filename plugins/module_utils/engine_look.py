"""Owns what a host's Docker engine says: the fleet's image, its containers, and whether pi is at work in them.
It must not enter a container, or judge what it sees."""

import json
import os
import re

from ansible_collections.pifleet.fleet.plugins.module_utils import containers, openshell_elsewhere, openshell_seen
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

ENGINE_SECONDS = 10
SHELL_SECONDS = 2  # for what a gateway's command is asked of a workspace or a sandbox, on a busy host
PROC_LIMIT = 100000
# What a running pi calls itself (pi 0.87.1 sets its process title).
AGENT = "pi"


def look(spec, looking):
    """The answer's `engine`, `images`, `containers` and `openshell`."""
    names = [box["container"]["name"] for box in spec["sandboxes"]]
    image = spec["image"]["name"]
    blind = {"images": {image: None}, "containers": dict.fromkeys(names)}
    engine = Engine(timeout=ENGINE_SECONDS)
    shell = spec.get("openshell")
    if shell and not shell["gateway"]["own"]:
        there = looking.one("openshell", lambda: openshell_elsewhere.observe(spec), {})
        if there and not there["gateway"]["answers"]:  # nothing else tells whether its sandboxes are there
            looking.unknown["openshell"] = there["gateway"]["error"]
        return {**look({**spec, "openshell": None}, looking), "openshell": there}
    state = looking.one("engine", lambda: _engine_state(engine))
    if not state or not state["answers"]:
        why = (state or {}).get("error") or looking.unknown["engine"]
        looking.unknown.update({"images/" + image: why, "containers": why})
        looking.unknown.update({"openshell": why} if spec.get("openshell") else {})
        return {"engine": state or {"answers": False, "error": why}, "openshell": {}, **blind}
    images = looking.each("images", [image], lambda name: _image(engine.find("/images/%s/json" % name)))
    listed = looking.one("containers", lambda: _listed(engine, spec["fleet"]), {})
    agents = looking.one("agents", _agents, {})
    see = _container(engine, listed, agents, looking)
    seen = looking.each("containers", sorted({*listed, *names}), see)
    shells = {}
    if wanted := spec.get("openshell"):
        asked = SHELL_SECONDS * (len(wanted["workspaces"]) + len(wanted["sandboxes"]))
        shells = looking.one("openshell", lambda: openshell_seen.observe(spec, engine, agents), {}, asked)
    return {"engine": state, "images": images, "containers": seen, "openshell": shells}


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


def _container(engine, listed, agents, looking):
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
            looking.unknown["containers/%s/agent" % name] = "none of its processes is to be seen in /proc"
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
