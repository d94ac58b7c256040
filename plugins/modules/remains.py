#!/usr/bin/python
"""Owns the question what of a fleet is on a host, asked before and after it is removed.
It must not remove anything but images, which nothing else can name."""

import os
import pwd

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

DOCUMENTATION = """
module: remains
short_description: What of a fleet is on this host
options:
  fleet: {description: The fleet's name., type: str, required: true}
  comment: {description: The comment of its accounts., type: str, required: true}
  paths: {description: Folders that pifleet makes., type: list, elements: str, required: true}
  images: {description: V(absent) removes the sandbox images that no container uses., type: str, default: kept}
"""

IMAGE_LABEL = "io.pifleet.image"


def labelled(engine, path, label):
    return engine.get(path, {"all": "true", "filters": '{"label":["%s"]}' % label})


def main():
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        {
            "fleet": text, "comment": text, "paths": {"type": "list", "elements": "str", "required": True},
            "images": {"choices": ["kept", "absent"], "default": "kept"},
        },
        supports_check_mode=True,
    )
    asked, engine, removed = module.params, Engine(), []
    accounts = [entry for entry in pwd.getpwall() if entry.pw_gecos == asked["comment"]]
    try:
        containers = labelled(engine, "/containers/json", "io.pifleet.fleet=" + asked["fleet"])
        images = labelled(engine, "/images/json", IMAGE_LABEL)
        if asked["images"] == "absent":
            used = {container["ImageID"] for container in labelled(engine, "/containers/json", "io.pifleet.fleet")}
            for image in images:
                if image["Id"] not in used:
                    removed += image["RepoTags"] or [image["Id"]]
                    if not module.check_mode:
                        engine.delete("/images/" + image["Id"], {"force": "true"})
            images = [image for image in images if image["Id"] in used]
    except EngineError as error:
        if error.status:
            module.fail_json(msg=str(error))
        containers = images = []
    module.exit_json(
        changed=bool(removed), removed=removed,
        containers=[container["Names"][0].lstrip("/") for container in containers],
        images=[tag for image in images for tag in image["RepoTags"] or [image["Id"]]],
        accounts=[{"name": entry.pw_name, "uid": entry.pw_uid, "gecos": entry.pw_gecos} for entry in accounts],
        paths=[path for path in asked["paths"] if os.path.lexists(path)],
    )


if __name__ == "__main__":
    main()
