#!/usr/bin/python
"""Owns the unix accounts that pifleet makes on a host: a user with a group of the same name and number.
It must not adopt or remove an account that it did not make, known by the comment in its entry."""

import grp
import pwd

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: accounts
short_description: Accounts without password and login shell
description:
  - Makes the users and their groups, and repairs shell, home and comment of those made before.
  - Fails when a name or a number belongs to an account with another comment.
options:
  users:
    description: Entries with O(users[].name), O(users[].uid) (also the group's number) and O(users[].gecos).
    type: list
    elements: dict
    default: []
  absent:
    description: Entries as in O(users) whose account is removed when its comment is O(absent[].gecos).
    type: list
    elements: dict
    default: []
"""

HOME = "/nonexistent"
SHELL = "/usr/sbin/nologin"


def by_name(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def conflict(user):
    """Why this account cannot be made or repaired by us, or an empty text."""
    name, uid = user["name"], int(user["uid"])
    there = by_name(name)
    if there and there.pw_gecos != user["gecos"]:
        return "account %s exists and is not of this fleet (comment %r instead of %r)" % (
            name, there.pw_gecos, user["gecos"],
        )
    if there and there.pw_uid != uid:
        return "account %s has uid %d instead of %d" % (name, there.pw_uid, uid)
    for kind, find, number in (("uid", pwd.getpwuid, "pw_name"), ("gid", grp.getgrgid, "gr_name")):
        try:
            owner = getattr(find(uid), number)
        except KeyError:
            continue
        if owner != name:
            return "%s %d belongs to %s" % (kind, uid, owner)
    try:
        if grp.getgrnam(name).gr_gid != uid:
            return "group %s has gid %d instead of %d" % (name, grp.getgrnam(name).gr_gid, uid)
    except KeyError:
        pass
    return ""


def group_exists(name):
    try:
        return bool(grp.getgrnam(name))
    except KeyError:
        return False


def commands(user):
    """The commands that bring one account to its wanted state; none when it is there."""
    name, uid, found = user["name"], str(user["uid"]), []
    there = by_name(name)
    if not group_exists(name):
        found.append(["groupadd", "--gid", uid, "--", name])
    settings = ["--comment", user["gecos"], "--home-dir" if not there else "--home", HOME, "--shell", SHELL]
    if not there:
        # Without --no-log-init, lastlog and faillog would grow to the size of the largest uid.
        made = ["useradd", "--no-log-init", "--no-create-home", "--no-user-group", "--uid", uid, "--gid", uid]
        found.append([*made, *settings, "--", name])
    elif (there.pw_gid, there.pw_dir, there.pw_shell) != (int(uid), HOME, SHELL):
        found.append(["usermod", "--gid", uid, *settings, "--", name])
    return found


def removal(user):
    """The commands that remove an account of ours; none when it is not there or not ours."""
    there, found = by_name(user["name"]), []
    if there and there.pw_gecos != user["gecos"]:
        return found
    if there:
        found.append(["userdel", "--", user["name"]])
    if group_exists(user["name"]):  # userdel takes it along only where the host's login.defs says so
        found.append(["groupdel", "--", user["name"]])
    return found


def main():
    entries = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule({"users": entries, "absent": entries}, supports_check_mode=True)
    conflicts = [text for text in map(conflict, module.params["users"]) if text]
    if conflicts:
        module.fail_json(msg="; ".join(conflicts))
    todo = [command for user in module.params["users"] for command in commands(user)]
    todo += [command for user in module.params["absent"] for command in removal(user)]
    for command in [] if module.check_mode else todo:
        code, _, error = module.run_command(command)
        if code and not (command[0] == "groupdel" and code == 6):  # 6: userdel took it along
            module.fail_json(msg="%s exited %d: %s" % (" ".join(command), code, error.strip()))
    module.exit_json(changed=bool(todo), commands=[" ".join(command) for command in todo])


if __name__ == "__main__":
    main()
