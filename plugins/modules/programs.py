#!/usr/bin/python
"""Owns the question which programs a host lacks.
It must not know which package brings them."""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import services

DOCUMENTATION = """
module: programs
short_description: Which of these programs are missing
description: Looks along the PATH of a root login; changes nothing.
options:
  packages:
    description: Entries with O(packages[].name) and the O(packages[].command) that shows it is
      there, or the path of a file.
    type: list
    elements: dict
    required: true
"""


def main():
    module = AnsibleModule(
        {"packages": {"type": "list", "elements": "dict", "required": True}}, supports_check_mode=True
    )
    missing = [entry["name"] for entry in module.params["packages"] if not services.installed(entry["command"])]
    module.exit_json(changed=False, missing=missing, systemd=services.has_systemd())


if __name__ == "__main__":
    main()
