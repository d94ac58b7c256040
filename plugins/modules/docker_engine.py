#!/usr/bin/python
"""Owns that a Docker engine answers on a host, is new enough, and keeps containers alive while it restarts itself.
It must not install, upgrade or stop one, and touches one setting of its configuration only."""

import json
import os
import shutil
import signal
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import keep, paths, processes, services
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

DOCUMENTATION = """
module: docker_engine
short_description: A Docker engine that answers, with live-restore
options:
  minimum: {description: The oldest version that will do., type: str, required: true}
  look: {description: Only say whether one answers and whether one is installed., type: bool, default: false}
"""

CONFIG = "/etc/docker/daemon.json"
PID_FILE = "/run/docker.pid"
SETTING = "live-restore"
SECONDS_TO_START = 60
SECONDS_TO_RELOAD = 15
SERVICE = {"name": "docker", "argv": ["dockerd"], "user": "", "reload": "HUP"}


class EngineTrouble(Exception):
    """The engine is not as it has to be and cannot be brought there by us."""


def info():
    """The engine's answer about itself, or None when none answers."""
    try:
        return Engine(timeout=20).get("/info")
    except EngineError:
        return None


def wait_for(test, seconds, otherwise):
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            raise EngineTrouble(otherwise)
        time.sleep(0.2)


def version(text):
    return tuple(int(part) for part in text.split("+")[0].split("-")[0].split(".") if part.isdigit())


def settings():
    """The operator's configuration of the engine; raises EngineTrouble when it is not readable JSON."""
    content = paths.read_file(CONFIG)
    try:
        found = json.loads(content or b"{}")
    except ValueError as error:
        raise EngineTrouble("%s is not JSON: %s" % (CONFIG, error)) from None
    if not isinstance(found, dict):
        raise EngineTrouble("%s does not hold an object" % CONFIG)
    return found


def write_setting():
    """Put our one setting into the operator's configuration; True when it was not there."""
    found = settings()
    if found.get(SETTING) is True:
        return False
    os.makedirs(os.path.dirname(CONFIG), exist_ok=True)
    mode = int((paths.look(CONFIG) or {"mode": "0644"})["mode"], 8)
    paths.write_file(CONFIG, (json.dumps({**found, SETTING: True}, indent=2) + "\n").encode(), mode)
    return True


def start():
    if services.has_systemd():
        subprocess.run(["systemctl", "reset-failed", "docker.service"], capture_output=True)
        done = subprocess.run(["systemctl", "enable", "--now", "docker.service"], capture_output=True, text=True)
        if done.returncode:
            raise EngineTrouble("Docker does not start: %s; see journalctl -u docker" % done.stderr.strip())
    else:
        way = keep.Keep()
        way.define(SERVICE)
        way.start(SERVICE)
    wait_for(info, SECONDS_TO_START, "Docker was started and does not answer after %d s" % SECONDS_TO_START)


def reload():
    """Let the engine read its configuration anew; no container is touched by that."""
    with open(PID_FILE, encoding="ascii") as file:
        pid = int(file.read())
    with open("/proc/%d/comm" % pid, encoding="ascii", errors="replace") as file:
        if file.read().strip() != "dockerd":
            raise EngineTrouble("%s names process %d, which is no dockerd; restart Docker" % (PID_FILE, pid))
    os.kill(pid, signal.SIGHUP)
    refused = "Docker did not take %s from %s; see its log" % (SETTING, CONFIG)
    wait_for(lambda: (info() or {}).get("LiveRestoreEnabled"), SECONDS_TO_RELOAD, refused)


def converge(minimum, check):
    """What was done, in words."""
    seen, done = info(), []
    if seen and version(seen["ServerVersion"]) < version(minimum):
        raise EngineTrouble(
            "Docker %s answers and pifleet needs %s: upgrade it yourself, which restarts what runs in it"
            % (seen["ServerVersion"], minimum)
        )
    if seen and seen.get("LiveRestoreEnabled"):
        return done
    if not seen and not shutil.which("dockerd"):
        raise EngineTrouble("no Docker engine answers and none is installed")
    done.append("switched on " + SETTING if seen else "started")
    if not check:
        write_setting()
        reload() if seen else start()
    return done


def main():
    module = AnsibleModule(
        {"minimum": {"type": "str", "required": True}, "look": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    if module.params["look"]:
        answers = bool(info())
        module.exit_json(changed=False, answers=answers, missing=not answers and not shutil.which("dockerd"))
    try:
        done = converge(module.params["minimum"], module.check_mode)
    except (EngineTrouble, processes.ServiceError, paths.PathError, OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
