#!/usr/bin/python
"""Owns that the runtime of pattern gondolin lies on a host whole, or not at all.
It must not know how it was made or what is in it."""

import hashlib
import os
import shutil
import subprocess
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import gondolin

DOCUMENTATION = r"""
module: gondolin_runtime
short_description: Look for the runtime of Gondolin's sandboxes, or unpack it
description:
  - Without O(archive) it only looks.
options:
  path: {description: "Folder of the runtime.", type: path, required: true}
  record: {description: "File with the hash over the folder, written when it was unpacked.", type: path, required: true}
  archive: {description: "A .tar.zst to unpack.", type: path}
  sha256: {description: "What the archive must hash to.", type: str}
"""

RETURN = r"""
whole: {description: Whether the runtime is there as it was recorded., type: bool, returned: success}
"""


def whole(path, record):
    try:
        with open(record, encoding="ascii") as file:
            return gondolin.tree(path) == file.read().strip()
    except OSError:
        return False


def checksum(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            chunk = file.read(1 << 20)
            if not chunk:
                return total.hexdigest()
            total.update(chunk)


def unpack(archive, path, record):
    """Put the runtime in its place in one step; what was there goes."""
    work = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(path))
    try:
        fresh = os.path.join(work, "runtime")
        os.mkdir(fresh, 0o755)
        subprocess.run(["tar", "--extract", "--zstd", "--no-same-owner", "--file", archive, "--directory", fresh],
                       check=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, umask=0o022)
        if os.path.lexists(path):
            os.rename(path, os.path.join(work, "old"))
        os.rename(fresh, path)
        with open(record + ".new", "w", encoding="ascii") as file:
            file.write(gondolin.tree(path) + "\n")
        os.replace(record + ".new", record)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main():
    path = {"type": "path", "required": True}
    module = AnsibleModule(
        {"path": path, "record": path, "archive": {"type": "path"}, "sha256": {"type": "str"}},
        supports_check_mode=True,
    )
    asked = module.params
    there = whole(asked["path"], asked["record"])
    if there or not asked["archive"] or module.check_mode:
        module.exit_json(changed=False, whole=there)
    try:
        seen = checksum(asked["archive"])
        if seen != asked["sha256"]:
            module.fail_json(msg="the archive hashes to %s and not to %s; carry it again" % (seen, asked["sha256"]))
        os.makedirs(os.path.dirname(asked["path"]), mode=0o755, exist_ok=True)
        os.makedirs(os.path.dirname(asked["record"]), mode=0o755, exist_ok=True)
        unpack(asked["archive"], asked["path"], asked["record"])
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip()
        module.fail_json(msg="the runtime was not unpacked: %s" % said[-500:])
    except OSError as error:
        module.fail_json(msg="the runtime was not unpacked: %s" % error)
    module.exit_json(changed=True, whole=True)


if __name__ == "__main__":
    main()
