#!/usr/bin/python
"""Owns that an engine has the sandbox image under its name: seen there, its tag moved back, or loaded from an archive.
It must not know how the image is built or where the archive came from."""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import image
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

DOCUMENTATION = r"""
module: docker_image
short_description: Have the sandbox image in the local Docker engine
description:
  - An image counts when its label says the hash, its entrypoint is pi and its working directory is /workspace.
  - Given a record, the very image that was recorded is preferred, and another counts only with the same layers.
  - A name that points elsewhere is moved to such an image if the engine has one; else the archive is loaded.
  - Without an archive nothing is loaded, and C(found) says whether the image is there.
options:
  name: {description: "Repository and tag.", type: str, required: true}
  hash: {description: "Value of the label io.pifleet.image.", type: str, required: true}
  archive: {description: "File on this host to load; need not exist in check mode.", type: path}
  record:
    description: "What C(image_save) returned for the archive."
    type: dict
    suboptions:
      sha256: {description: "Of the archive.", type: str, required: true}
      image: {description: "Id of the saved image.", type: str, required: true}
      layers: {description: "Digest over the saved image's layers.", type: str, required: true}
      size: {description: "Bytes that the loaded image takes.", type: str, required: true}
      architecture: {description: "In Docker's words.", type: str, required: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- pifleet.fleet.docker_image: {name: "pifleet/pi:0123456789ab", hash: 0123456789ab}
"""

RETURN = r"""
found: {description: Whether the image is there now., type: bool, returned: always}
id: {description: The image's id, or an empty text., type: str, returned: always}
architecture: {description: The engine's, in Docker's words., type: str, returned: always}
free: {description: Free bytes in each folder that building or loading fills., type: dict, returned: always}
"""

RECORD = {key: {"type": "str", "required": True} for key in ("sha256", "image", "layers", "size", "architecture")}
ABSENT = "no such image"
WORK = "/var/lib"


def free(engine):
    folders = {WORK, engine.get("/info")["DockerRootDir"]}
    return {folder: shutil.disk_usage(folder).free for folder in folders if os.path.isdir(folder)}


def ensure(engine, params, check_mode):
    """Bring the image under its name; returns the module's result. Raises EngineError, OSError, image.Refused."""
    name, image_hash, archive, record = (params[key] for key in ("name", "hash", "archive", "record"))
    named, id_ = image.find(engine, name, image_hash, record)
    before, after = named.get("Id", ABSENT), id_ or ("the image in the archive" if archive else ABSENT)
    if after not in (before, ABSENT) and not check_mode:
        if id_:
            repository, _, tag = name.rpartition(":")
            engine.post("/images/%s/tag" % id_, query={"repo": repository, "tag": tag})
        else:
            after = id_ = image.load(engine, name, image_hash, archive, record)
    return {
        "changed": after not in (before, ABSENT),
        "found": bool(id_),
        "id": id_,
        "architecture": engine.get("/version")["Arch"],
        "free": free(engine),
        "diff": {"before": "%s: %s\n" % (name, before), "after": "%s: %s\n" % (name, after)},
    }


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "hash": {"type": "str", "required": True},
            "archive": {"type": "path"},
            "record": {"type": "dict", "options": RECORD},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**ensure(Engine(timeout=900), module.params, module.check_mode))
    except EngineError as error:
        if module.check_mode and not error.status:  # a run without check mode would have installed the engine by now
            module.exit_json(changed=bool(module.params["archive"]), found=False, id="", architecture="", free={})
        module.fail_json(msg="The engine cannot have the image %s: %s" % (module.params["name"], error))
    except (OSError, image.Refused) as error:
        module.fail_json(msg="The image %s was not loaded: %s" % (module.params["name"], error))


if __name__ == "__main__":
    main()
