#!/usr/bin/python
"""Owns a thin layer on the fleet's image: built without network where it is missing, under its name and another one.
It must not know what the layer is for."""

import io
import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError, packed

DOCUMENTATION = """
module: image_layer
short_description: Have an image that is another one with a layer of files and commands
options:
  name: {description: "Repository and tag.", type: str, required: true}
  base: {description: "The image it is built from; must be there.", type: str, required: true}
  hash: {description: "What the label io.pifleet.openshell of the wanted layer says.", type: str, required: true}
  user: {description: "The user that its programs run as.", type: str, required: true}
  also: {description: "Another name for the same image.", type: str, required: true}
  files: {description: "The build context, by name; one is the Dockerfile.", type: dict, required: true}
"""

LABEL = "io.pifleet.openshell"


def fits(found, base, params):
    """Whether an image is the wanted layer on today's base."""
    config = (found or {}).get("Config") or {}
    layers = base["RootFS"]["Layers"]
    return bool(found) and (config.get("Labels") or {}).get(LABEL) == params["hash"] and \
        config.get("User") == params["user"] and found["RootFS"]["Layers"][: len(layers)] == layers


def ensure(engine, params, check):
    """What was done. Raises EngineError."""
    done = []
    base = engine.find("/images/%s/json" % params["base"])
    if not base:
        raise EngineError(404, "%s is not there to be built on" % params["base"])
    found = engine.find("/images/%s/json" % params["name"])
    lost = None if fits(found, base, params) else nameless(engine, base, params)
    if lost:
        found = lost
        done.append("name put back")
        if not check:
            name(engine, lost["Id"], params["name"])
    elif not fits(found, base, params):
        done.append("built")
        if not check:
            query = {"t": params["name"], "networkmode": "none", "forcerm": "1"}
            for _ in engine.messages("/build", query, io.BytesIO(packed(params["files"], 0o755))):
                pass
            found = engine.get("/images/%s/json" % params["name"])
    other = engine.find("/images/%s/json" % params["also"])
    if not other or other["Id"] != (found or {}).get("Id"):
        done.append("named")
        if not check:
            name(engine, found["Id"], params["also"])
    return done


def nameless(engine, base, params):
    """The wanted layer that lost its name: built anew, it would be another one for those that use it."""
    mine = json.dumps({"label": ["%s=%s" % (LABEL, params["hash"])]})
    listed = engine.get("/images/json", {"all": "1", "filters": mine})
    made = [engine.find("/images/%s/json" % entry["Id"]) for entry in listed]
    return next((image for image in made if fits(image, base, params)), None)


def name(engine, image, full):
    repository, _, tag = full.rpartition(":")
    engine.post("/images/%s/tag" % image, query={"repo": repository, "tag": tag})


def main():
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        {"name": text, "base": text, "hash": text, "user": text, "also": text,
         "files": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    try:
        done = ensure(Engine(timeout=300), module.params, module.check_mode)
    except EngineError as error:
        module.fail_json(msg="The image %s was not built: %s" % (module.params["name"], error))
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
