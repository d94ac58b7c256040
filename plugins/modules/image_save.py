#!/usr/bin/python
"""Owns making an archive of the sandbox image as an Ansible step.
It must not know where the archive travels."""

import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import image
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

DOCUMENTATION = r"""
module: image_save
short_description: Save an image of the local Docker engine as a compressed archive
description:
  - Always writes; meant for a file in a fresh folder.
options:
  name: {description: "Repository and tag.", type: str, required: true}
  archive: {description: "File to write, named .tar.zst or .tar.gz.", type: path, required: true}
"""

EXAMPLES = r"""
- pifleet.fleet.image_save: {name: "pifleet/pi:0123456789ab", archive: /var/lib/pifleet/build/x/pi.tar.zst}
"""

RETURN = r"""
record: {description: What docker_image checks the archive and the loaded image with., type: dict, returned: success}
"""


def main():
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "required": True}, "archive": {"type": "path", "required": True}}
    )
    name, archive = module.params["name"], module.params["archive"]
    try:
        module.exit_json(changed=True, record=image.save(Engine(timeout=900), name, archive))
    except (EngineError, OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg="The image %s was not saved to %s: %s" % (name, archive, error))


if __name__ == "__main__":
    main()
