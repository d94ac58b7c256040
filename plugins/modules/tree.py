#!/usr/bin/python
"""Owns folders and files with known content on a host, many in one call, without ever following a link.
It must not know what they are for."""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import paths

DOCUMENTATION = """
module: tree
short_description: Folders and files with owner, mode and content
description:
  - Makes or repairs all given folders, then all given files, in their order.
  - A folder that is there keeps what is in it; nothing below it is touched.
options:
  dirs:
    description: Folders, each with O(dirs[].path), O(dirs[].mode), O(dirs[].uid), O(dirs[].gid).
    type: list
    elements: dict
  files:
    description: Files of root with O(files[].path), O(files[].mode), O(files[].content), and O(files[].in_place) to
      keep the inode.
    type: list
    elements: dict
  secrets:
    description: Like O(files); content and difference are never shown.
    type: list
    elements: dict
  only:
    description: A folder, O(only.folder), from which every file is removed that is not among O(only.files).
    type: dict
"""


def differences(path, wanted, seen):
    """What is wrong with a path, as a pair of dicts; two empty ones when nothing is."""
    seen = seen or {"type": "missing"}
    keys = [key for key in wanted if wanted[key] != seen.get(key)]
    return {key: seen.get(key) for key in keys}, {key: wanted[key] for key in keys}


class Tree:
    def __init__(self, check):
        self.check, self.changed, self.diff = check, [], []

    def note(self, path, before, after, texts=None):
        """Remember a change; `texts` are the whole contents before and after, where they may be shown."""
        self.changed.append(path)
        before, after = texts or (before, after)
        self.diff.append({"before_header": path, "after_header": path, "before": before, "after": after})

    def folder(self, entry):
        wanted = {"type": "dir", "mode": entry["mode"], "uid": int(entry["uid"]), "gid": int(entry["gid"])}
        before, after = differences(entry["path"], wanted, paths.look(entry["path"]))
        if after:
            self.note(entry["path"], before, after)
            if not self.check:
                paths.make_dir(entry["path"], int(entry["mode"], 8), wanted["uid"], wanted["gid"])

    def file(self, entry, show=True):
        content = entry["content"].encode()
        wanted = {"type": "file", "mode": entry["mode"], "uid": 0, "gid": 0}
        before, after = differences(entry["path"], wanted, paths.look(entry["path"]))
        old = paths.read_file(entry["path"])
        if old == content and not after:
            return
        texts = ((old or b"").decode("utf-8", "replace"), entry["content"]) if show and old != content else None
        self.note(entry["path"], before, after, texts)
        if not self.check:
            paths.write_file(entry["path"], content, int(entry["mode"], 8), in_place=bool(entry.get("in_place")))

    def clear(self, folder, wanted):
        """Remove every file of a folder that has no business there."""
        try:
            held = paths.open_dir(folder)
        except FileNotFoundError:
            return
        try:
            for name in os.listdir(held):
                path = os.path.join(folder, name)
                if path not in wanted:
                    self.note(path, {"type": "file"}, {"type": "missing"})
                    if not self.check:
                        os.unlink(name, dir_fd=held)
        finally:
            os.close(held)


def main():
    lists = {"type": "list", "elements": "dict", "default": []}
    secret = {"path": {"required": True}, "mode": {"required": True}, "content": {"required": True, "no_log": True}}
    module = AnsibleModule(
        {"dirs": lists, "files": lists, "secrets": {**lists, "options": secret}, "only": {"type": "dict"}},
        supports_check_mode=True,
    )
    tree = Tree(module.check_mode)
    try:
        for entry in module.params["dirs"]:
            tree.folder(entry)
        for entry in module.params["files"]:
            tree.file(entry)
        for entry in module.params["secrets"]:
            tree.file(entry, show=False)
        if module.params["only"]:
            tree.clear(module.params["only"]["folder"], module.params["only"]["files"])
    except (OSError, paths.PathError) as error:
        module.fail_json(msg=str(error), changed=bool(tree.changed), paths=tree.changed)
    module.exit_json(changed=bool(tree.changed), paths=tree.changed, diff=tree.diff)


if __name__ == "__main__":
    main()
