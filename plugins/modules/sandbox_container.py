#!/usr/bin/python
"""Owns one sandbox's container on a host: made, changed in place where the engine can, replaced only where it cannot.
It must not touch a container that is as it should be, nor one that is not of this fleet."""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import containers
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

DOCUMENTATION = """
module: sandbox_container
short_description: One sandbox as a Docker container
options:
  container:
    description: The container in the form of module_utils/containers.py; for RV(state) other than V(running) its labels
      and perhaps name are enough.
    type: dict
    required: true
  state:
    description: What it shall be.
    choices: [running, stopped, absent]
    default: running
"""

FLEET = "io.pifleet.fleet"
SECONDS_TO_END = 15
ENDED = ("exited", "created", "dead")


class Refused(Exception):
    """The container may not or cannot be brought to its state."""


class Sandbox:
    def __init__(self, engine, container, check):
        self.engine, self.container, self.check = engine, container, check
        self.name = container.get("name") or self._labelled()
        self.seen = engine.find("/containers/%s/json" % self.name) if self.name else None
        self.before, self.after, self.done = {}, {}, []
        owner = (self.seen["Config"].get("Labels") or {}).get(FLEET) if self.seen else None
        if self.seen and owner != container["labels"][FLEET]:
            raise Refused("container %s exists and is not of fleet %s" % (self.name, container["labels"][FLEET]))

    def _labelled(self):
        labels = ["%s=%s" % pair for pair in sorted(self.container["labels"].items())]
        found = self.engine.get("/containers/json", {"all": "true", "filters": json.dumps({"label": labels})})
        return found[0]["Names"][0].lstrip("/") if found else ""

    def act(self, word, *calls):
        self.done.append(word)
        for call, *arguments in [] if self.check else calls:
            call(*arguments)

    def run(self):
        image = self.engine.find("/images/%s/json" % self.container["image"])
        if not image:
            raise Refused("image %s is not on this host; provision it first (tag pi_image)" % self.container["image"])
        if not self.seen:
            self.after = {"image": self.container["image"], "state": "running"}
            return self.act("created", *self._create(), self._start())
        own_image = image if image["Id"] == self.seen["Image"] else self._image_of_seen()
        have, wanted = containers.normalise(self.seen, own_image), {**self.container, "image": image["Id"]}
        differing = containers.differing(wanted, have)
        self.before = {key: have[key] for key in differing}
        self.after = {key: wanted[key] for key in differing}
        if set(differing) - containers.LIVE or self._state() == "dead":
            return self.act("replaced", *self._end(), *self._create(), self._start())
        if differing:
            self.act("changed", (self.engine.post, self._path("update"), containers.update_body(self.container)))
        return self._wake()

    def _wake(self):
        state = self._state()
        if state != "running":
            self.before["state"], self.after["state"] = state, "running"
            self.act("started", (self.engine.post, self._path("unpause")) if state == "paused" else self._start())

    def stop(self):
        if self.seen and self._state() not in ENDED:
            self.before, self.after = {"state": self._state()}, {"state": "exited"}
            self.act("stopped", *self._stop())

    def remove(self):
        if self.seen:
            self.before, self.after = {"state": self._state()}, {"state": "absent"}
            self.act("removed", *self._end())

    def _state(self):
        return self.seen["State"]["Status"]

    def _image_of_seen(self):
        return self.engine.find("/images/%s/json" % self.seen["Image"])

    def _path(self, verb=""):
        return "/containers/%s%s" % (self.name, "/" + verb if verb else "")

    def _create(self):
        return [(self.engine.post, "/containers/create", containers.create_body(self.container), {"name": self.name})]

    def _start(self):
        return (self.engine.post, self._path("start"))

    def _stop(self):
        calls = [(self.engine.post, self._path("stop"), None, {"t": SECONDS_TO_END})]
        if self._state() == "paused":  # the engine stops no paused container
            calls.insert(0, (self.engine.post, self._path("unpause")))
        return calls if self._state() not in ENDED else []

    def _end(self):
        return [*self._stop(), (self.engine.delete, self._path(), {"force": "true", "v": "true"})]


def main():
    module = AnsibleModule(
        {
            "container": {"type": "dict", "required": True},
            "state": {"choices": ["running", "stopped", "absent"], "default": "running"},
        },
        supports_check_mode=True,
    )
    try:
        sandbox = Sandbox(Engine(timeout=120), module.params["container"], module.check_mode)
        {"running": sandbox.run, "stopped": sandbox.stop, "absent": sandbox.remove}[module.params["state"]]()
    except (Refused, EngineError) as error:
        module.fail_json(msg=str(error))
    diff = {"before": sandbox.before, "after": sandbox.after}
    diff.update(before_header=sandbox.name, after_header=sandbox.name)
    module.exit_json(changed=bool(sandbox.done), done=sandbox.done, diff=diff)


if __name__ == "__main__":
    main()
