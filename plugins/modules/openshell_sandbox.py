#!/usr/bin/python
"""Owns one sandbox of an OpenShell gateway: made, started, changed in place where a gateway can, replaced when told so.
It must not end a sandbox that it was not told to end: with it goes everything that is in it."""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import openshell, openshell_elsewhere, openshell_seen, paths
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

DOCUMENTATION = """
module: openshell_sandbox
short_description: One sandbox on an OpenShell gateway
options:
  gateway: {description: "As openshell.gateway in a host's spec.", type: dict, required: true}
  sandbox:
    description: As an entry of openshell.sandboxes there; for RV(state) other than V(running) workspace, name and
      labels are enough.
    type: dict
    required: true
  state:
    description: What it shall be.
    choices: [running, stopped, absent]
    default: running
"""

# Its name is not that of a shell, which agents end by name; it ends only when it is made to.
MAIN = ("python3", "-I", "/usr/local/lib/pifleet/stay")
SECONDS = 120


class Refused(Exception):
    """The sandbox may not or cannot be brought to its state."""


class Sandbox:
    def __init__(self, way, wanted, check):
        self.way, self.client, self.wanted, self.check = way, way.client, wanted, check
        self.name, self.workspace = wanted["name"], wanted["workspace"]
        self.done = []
        self.seen = self.look()
        fleet = wanted["labels"][openshell_seen.FLEET]
        if self.seen and self.seen["labels"].get(openshell_seen.FLEET) != fleet:
            raise Refused("sandbox %s of workspace %s exists and is not of fleet %s"
                          % (self.name, self.workspace, fleet))

    def look(self):
        wanted = self.wanted if "policy" in self.wanted else None
        listed = {one["name"]: one for one in self.client.sandboxes() if one["workspace"] == self.workspace}
        container = self.way.containers().get("%s/%s" % (self.workspace, self.name))
        found = listed.get(self.name) or (openshell_seen.unlisted(self.wanted, True) if container else None)
        return self.way.sandbox(found, wanted, container) if found else None

    def act(self, word, call, *arguments):
        self.done.append(word)
        if not self.check:
            call(*arguments)

    def run(self):
        image = self.way.image(self.wanted["image"])
        if not image:
            raise Refused("image %s is not on this host; provision it first (tag pi_image)" % self.wanted["image"])
        if not self.seen:
            return self.act("created", self.create)
        different = self.fixed_differences(image)
        if self.seen["phase"] == "Error":
            different = ["phase Error: %s" % self.seen.get("reason")]
        if different:
            if not self.wanted.get("replace") and self.seen["container"]:
                raise Refused("it has to be replaced (%s), and what is in it would be lost; use pifleet provision, "
                              "which brings that home first" % ", ".join(different))
            return self.act("replaced", self.replace)
        return self.change()

    def fixed_differences(self, image):
        wanted = {"image": image, "cpus": self.wanted["cpus"], "memory": self.wanted["memory"],
                  **openshell_seen.fixed(self.wanted["policy"])}
        have = {**{key: self.seen.get(key) for key in ("image", "cpus", "memory")},
                **openshell_seen.fixed(self.seen.get("policy") or {})}
        return [key for key in wanted if wanted[key] != have[key]]

    def change(self):
        if self.seen["phase"] in ("Stopped", "Stopping"):
            self.act("started", self.call, "start", self.name)
        if self.seen["phase"] != "Ready" and not self.check:
            self.wait("Ready")
        rules = "network_policies"
        if (self.seen.get("policy") or {}).get(rules, {}) != self.wanted["policy"].get(rules, {}):
            self.act("policy changed", self.set_policy)
        hashes = {name: openshell_seen.digest(text) for name, text in self.wanted["settings"].items()}
        if self.seen.get("settings") != hashes:
            self.act("settings changed", self.put_settings)
        for key in self.seen.get("set") or {}:
            self.act("%s unset" % key, self.unset, key)

    def create(self):
        limits = ["--cpu", "%g" % self.wanted["cpus"], "--memory", "%dMi" % (self.wanted["memory"] >> 20)]
        labels = [word for pair in sorted(self.wanted["labels"].items()) for word in ("--label", "%s=%s" % pair)]
        with self.policy_file() as policy:
            try:
                self.call("create", "--name", self.name, "--from", self.wanted["image"], *limits, *labels,
                          "--policy", policy, "--no-auto-providers", "--detach", "--", *MAIN)
            except openshell.ShellError:
                # What was made in part keeps its name and is in phase Error, where nothing is in it yet.
                if self.look():
                    self.call("delete", self.name)
                raise
        self.wait("Ready")
        self.put_settings()

    def replace(self):
        self.remove_all()
        end = time.monotonic() + SECONDS
        while self.look():
            if time.monotonic() > end:
                raise Refused("the old sandbox is not gone after %d s" % SECONDS)
            time.sleep(0.3)
        self.create()

    def set_policy(self):
        with self.policy_file() as policy:
            self.client.call("policy", "set", self.name, "--policy", policy, "--wait", workspace=self.workspace,
                             seconds=SECONDS)

    def unset(self, key):
        self.client.call("settings", "delete", self.name, "--key", key, workspace=self.workspace)

    def put_settings(self):
        """Give the sandbox pi's settings."""
        self.way.give(self.look(), self.wanted["settings"])

    def policy_file(self):
        return PolicyFile(self.client.gateway, self.wanted)

    def call(self, verb, *words):
        self.client.call("sandbox", verb, *words, workspace=self.workspace, seconds=SECONDS)

    def wait(self, phase):
        end = time.monotonic() + SECONDS
        while True:
            seen = self.look()
            if seen and seen["phase"] == phase:
                return
            if not seen or seen["phase"] == "Error" or time.monotonic() > end:
                why = (seen or {}).get("reason")
                raise Refused("it is %s and not %s%s" % (seen["phase"] if seen else "gone", phase,
                                                         ": " + why if why else ""))
            time.sleep(0.3)

    def stop(self):
        if self.seen and self.seen["phase"] not in ("Stopped", "Error"):
            self.act("stopped", self.call, "stop", self.name)

    def remove(self):
        if self.seen:
            self.act("removed", self.remove_all)

    def remove_all(self):
        """Also the container of a sandbox that its gateway has forgotten."""
        if self.seen["known"]:
            self.call("delete", self.name)
        else:
            self.way.forget(self.seen)


class PolicyFile:
    """A policy as a file that the client can read, while the `with` block runs; JSON is YAML."""

    def __init__(self, gateway, wanted):
        self.path = os.path.join(gateway["client"], "policy-%s-%s" % (wanted["workspace"], wanted["name"]))
        self.text = json.dumps(wanted["policy"])

    def __enter__(self):
        paths.write_file(self.path, self.text.encode(), 0o644)
        return self.path

    def __exit__(self, *_):
        os.unlink(self.path)


def main():
    module = AnsibleModule(
        {
            "gateway": {"type": "dict", "required": True}, "sandbox": {"type": "dict", "required": True},
            "state": {"choices": ["running", "stopped", "absent"], "default": "running"},
        },
        supports_check_mode=True,
    )
    client, wanted = openshell.Client(module.params["gateway"]), module.params["sandbox"]
    try:
        client.require()
        own = client.gateway["own"]
        way = openshell_seen.Here(client, Engine(timeout=120), {}) if own else openshell_elsewhere.There(client)
        sandbox = Sandbox(way, wanted, module.check_mode)
        {"running": sandbox.run, "stopped": sandbox.stop, "absent": sandbox.remove}[module.params["state"]]()
        here = sandbox.look() or {}
    except (Refused, openshell.ShellError, EngineError, paths.PathError, OSError) as error:
        module.fail_json(msg="%s: %s" % (wanted.get("title", wanted["name"]), error))
    lacking = [name for name, there in (here.get("repos") or {}).items() if not there]
    module.exit_json(changed=bool(sandbox.done), done=sandbox.done, lacking=lacking)


if __name__ == "__main__":
    main()
