#!/usr/bin/python
"""Owns building the sandbox image from a prepared folder, with no network during the build.
It must not know what is in the folder."""

import collections
import json
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

DOCUMENTATION = r"""
module: image_build
short_description: Build an image from a folder with a Dockerfile
description:
  - Speaks to the engine's own builder, so it needs neither a Docker client nor BuildKit.
  - Always builds. After a failure the layers of the attempt are removed.
options:
  name: {description: "Repository and tag.", type: str, required: true}
  folder: {description: "Build context.", type: path, required: true}
  base: {description: "Image that the Dockerfile starts from; pulled if the engine lacks it.", type: str, default: ""}
  attempt: {description: "Label (key=value) which the Dockerfile puts on its first layer.", type: str, required: true}
"""

EXAMPLES = r"""
- pifleet.fleet.image_build: {name: "pifleet/pi:0123456789ab", folder: /var/lib/pifleet/build/x, attempt: "a=b"}
"""

RETURN = r"""
id: {description: The image's id., type: str, returned: success}
"""

SHOWN = 15
NOISE = (" --->", "Removing intermediate container")
# What npm leaves depends on the umask of whoever ran it; in the image everybody may read.
PACK = ["tar", "-c", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rwX,go=u-w", "."]


def build(engine, name, folder, base):
    """Build and tag; returns the image's id. Raises EngineError with the end of the build's output."""
    if base and not engine.find("/images/%s/json" % base):
        for _ in engine.messages("/images/create", {"fromImage": base}):
            pass
    query = {"t": name, "networkmode": "none", "forcerm": "1"}
    output = collections.deque(maxlen=SHOWN)
    with subprocess.Popen(PACK, cwd=folder, stdout=subprocess.PIPE) as pack:
        try:
            for message in engine.messages("/build", query, pack.stdout):
                line = message.get("stream", "")
                output.append("" if line.startswith(NOISE) else line)
        except EngineError as error:
            raise EngineError(error.status, "%s\n%s" % (error, "".join(output))) from error
    return engine.get("/images/%s/json" % name)["Id"]


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "folder": {"type": "path", "required": True},
            "base": {"type": "str", "default": ""},
            "attempt": {"type": "str", "required": True},
        }
    )
    engine, name = Engine(timeout=900), module.params["name"]
    try:
        module.exit_json(changed=True, id=build(engine, name, module.params["folder"], module.params["base"]))
    except EngineError as error:
        if error.status:
            filters = {"dangling": ["true"], "label": [module.params["attempt"]]}
            engine.post("/images/prune", query={"filters": json.dumps(filters)})
        module.fail_json(msg="The image %s was not built: %s" % (name, error))


if __name__ == "__main__":
    main()
