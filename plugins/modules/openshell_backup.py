#!/usr/bin/python
"""Owns copies of what a gateway cannot be without: its database, and the key that opens the credentials in it.
It must not change a gateway; a copy is made while it runs, and only when it would differ from the last one."""

import os
import shutil
import sqlite3
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import paths

DOCUMENTATION = """
module: openshell_backup
short_description: Keep copies of an OpenShell gateway's database and credential key
options:
  gateway: {description: "As openshell.gateway in a host's spec.", type: dict, required: true}
  folder: {description: "Where the copies lie, each in a folder named by its time.", type: path, required: true}
  keep: {description: "How many stay.", type: int, default: 5}
"""

DATABASE, KEY = "openshell.db", "key-encryption-key.bin"


def sources(gateway):
    state = os.path.join(gateway["state"], "state/openshell/gateway")
    return os.path.join(state, DATABASE), os.path.join(state, "credentials", KEY)


def content(database, key):
    """Everything in a database and its key, for comparison."""
    with sqlite3.connect("file:%s?mode=ro" % database, uri=True) as held:
        rows = list(held.iterdump())
    return rows, paths.read_file(key)


def copy(database, key, target):
    """A whole copy under its name, or none."""
    fresh = target + ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    os.mkdir(fresh, 0o700)
    with sqlite3.connect("file:%s?mode=ro" % database, uri=True) as held, \
            sqlite3.connect(os.path.join(fresh, DATABASE)) as into:
        held.backup(into)
    secret = paths.read_file(key)
    if secret is not None:
        paths.write_file(os.path.join(fresh, KEY), secret, 0o600)
    os.rename(fresh, target)


def main():
    module = AnsibleModule(
        {"gateway": {"type": "dict", "required": True}, "folder": {"type": "path", "required": True},
         "keep": {"type": "int", "default": 5}},
        supports_check_mode=True,
    )
    (database, key), folder = sources(module.params["gateway"]), module.params["folder"]
    if not os.path.exists(database):
        module.exit_json(changed=False)
    try:
        there = sorted(name for name in os.listdir(folder) if name.isdigit())
        last = os.path.join(folder, there[-1]) if there else ""
        if last and content(database, key) == content(os.path.join(last, DATABASE), os.path.join(last, KEY)):
            module.exit_json(changed=False)
        if not module.check_mode:
            copy(database, key, os.path.join(folder, time.strftime("%Y%m%d%H%M%S", time.gmtime())))
            for name in there[: max(0, len(there) + 1 - module.params["keep"])]:
                shutil.rmtree(os.path.join(folder, name))
    except (OSError, sqlite3.Error, paths.PathError) as error:
        module.fail_json(msg="the gateway's database was not copied, so nothing is changed: %s" % error)
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
