#!/usr/bin/python
"""Owns a repository's way from a clone on the gateway's host into a sandbox: whole, with its history, or not at all.
It must not touch what has the repository's name in there already."""

import os
import shlex
import shutil
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import openshell

DOCUMENTATION = """
module: openshell_upload
short_description: Move a clone into an OpenShell sandbox
options:
  gateway: {description: "As openshell.gateway in a host's spec.", type: dict, required: true}
  sandbox: {description: "As an entry of openshell.sandboxes there.", type: dict, required: true}
  name: {description: "The folder, here and in the sandbox's workspace.", type: str, required: true}
  folder: {description: "Where the clone lies; it is gone from there afterwards.", type: path, required: true}
"""

SECONDS = 3600
INCOMING = "/workspace/.pifleet-incoming"
# It appears under its name at once: what was cut off stays in the other folder, and goes with the next try.
TAKE = 'set -e; rm -rf -- "$1"; mkdir -- "$1"; tar -xf - -C "$1"; mv -T -- "$1/$2" "/workspace/$2"; rmdir -- "$1"'


def send(client, sandbox, name, folder):
    """Pack as root, who may read the clone, and hand the bytes to the client's ssh."""
    inside = shlex.join(["sh", "-c", TAKE, "sh", INCOMING, name])
    argv = client.ssh(sandbox["workspace"], sandbox["name"], inside)
    with subprocess.Popen(["tar", "-cf", "-", "-C", folder, "--", name], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as pack:
        child = client.start(argv, stdin=pack.stdout)
        pack.stdout.close()
        try:
            _, err = child.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            raise openshell.ShellError("the upload did not end within %d s" % SECONDS) from None
        packing = pack.stderr.read()
    if child.returncode or pack.returncode:
        raise openshell.ShellError(openshell.said(err + packing) or "exit code %d" % child.returncode)


def main():
    module = AnsibleModule(
        {
            "gateway": {"type": "dict", "required": True}, "sandbox": {"type": "dict", "required": True},
            "name": {"type": "str", "required": True}, "folder": {"type": "path", "required": True},
        },
    )
    sandbox, name, folder = (module.params[key] for key in ("sandbox", "name", "folder"))
    try:
        client = openshell.Client(module.params["gateway"])
        client.require()
        send(client, sandbox, name, folder)
        shutil.rmtree(os.path.join(folder, name))
    except (openshell.ShellError, OSError) as error:
        module.fail_json(msg="%s: %s did not get into the sandbox: %s" % (sandbox["title"], name, error))
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
