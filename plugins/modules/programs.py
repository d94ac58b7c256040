#!/usr/bin/python
"""Owns the question which programs a host lacks.
It must not know which package brings them."""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: programs
short_description: Which of these programs are missing
description: Looks along the PATH of a root login; changes nothing.
options:
  packages:
    description: Entries with O(packages[].name) and the O(packages[].command) that shows it is there.
    type: list
    elements: dict
    required: true
"""

FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main():
    module = AnsibleModule(
        {"packages": {"type": "list", "elements": "dict", "required": True}}, supports_check_mode=True
    )
    missing = [entry["name"] for entry in module.params["packages"] if not shutil.which(entry["command"], path=FOLDERS)]
    module.exit_json(changed=False, missing=missing, systemd=os.path.isdir("/run/systemd/system"))


if __name__ == "__main__":
    main()
