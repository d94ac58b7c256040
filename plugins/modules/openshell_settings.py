#!/usr/bin/python
"""Owns that nobody's settings of a whole gateway decide over its sandboxes: what was set there by hand is unset.
It must not touch what is set for one sandbox."""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import openshell

DOCUMENTATION = """
module: openshell_settings
short_description: Have no settings and no policy that hold for all of an OpenShell gateway
options:
  gateway: {description: "As openshell.gateway in a host's spec.", type: dict, required: true}
"""


def main():
    module = AnsibleModule({"gateway": {"type": "dict", "required": True}}, supports_check_mode=True)
    client, done = openshell.Client(module.params["gateway"]), []
    try:
        client.require()
        calls = {key: ("settings", "delete", "--global", "--yes", "--key", key)
                 for key in sorted(client.settings("--global"))}
        if client.policy_of_all():
            calls["policy"] = ("policy", "delete", "--global", "--yes")
        for key, words in calls.items():
            done.append("%s unset" % key)
            if not module.check_mode:
                client.call(*words)
    except openshell.ShellError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
