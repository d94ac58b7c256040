#!/usr/bin/python
"""Owns the question whether a host can be one of the fleet, asked before anything on it changes.
It must not repair what it finds: every finding is a sentence for the operator."""

import os
import pwd
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

DOCUMENTATION = """
module: preflight
short_description: Says what stands in the way of provisioning a host
options:
  fleet: {description: The fleet's name., type: str, required: true}
  users: {description: Accounts as in the host's spec., type: list, elements: dict, required: true}
  containers: {description: Names of the containers to come., type: list, elements: str, required: true}
  paths: {description: Where disk is needed., type: list, elements: str, required: true}
  disk: {description: Bytes that must be free in each of O(paths)., type: int, required: true}
  memory: {description: Bytes of memory that the host must have., type: int, required: true}
  systems: {description: The oldest version by the ID of os-release., type: dict, required: true}
  machines: {description: Names of the architectures that are supported., type: list, elements: str, required: true}
"""

OLDEST_PYTHON = (3, 9)
GIB = 1 << 30


def os_release():
    """The pairs of /etc/os-release (os-release(5))."""
    with open("/etc/os-release", encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("=", 1) for line in file if "=" in line]
    return {key: value.strip("\"'") for key, value in pairs}


def version(text):
    return tuple(int(part) for part in str(text).split(".") if part.isdigit())


def system(wanted):
    """What is wrong with the operating system."""
    release = os_release()
    name, number = release.get("ID", "unknown"), release.get("VERSION_ID", "")
    supported = " or ".join("%s %s" % pair for pair in sorted(wanted.items()))
    if name not in wanted:
        yield "the host runs %s; pifleet supports %s or newer" % (release.get("PRETTY_NAME", name), supported)
    elif number and version(number) < version(wanted[name]):
        yield "the host runs %s %s; pifleet supports %s or newer" % (name, number, supported)


def machine(wanted):
    """What is wrong with the interpreter and the processor."""
    if sys.version_info < OLDEST_PYTHON:
        yield "python is %d.%d; pifleet needs 3.9: set ansible_python_interpreter to a newer one" % sys.version_info[:2]
    if os.uname().machine not in wanted:
        yield "the processor is %s; pifleet supports %s" % (os.uname().machine, " and ".join(wanted))


def room(paths, disk, memory):
    """What is too small."""
    seen = set()
    for path in paths:
        while not os.path.exists(path):
            path = os.path.dirname(path)
        status = os.statvfs(path)
        free = status.f_bavail * status.f_frsize
        if free < disk and status.f_fsid not in seen:
            seen.add(status.f_fsid)
            yield (
                "the disk of %s has %.1f GiB free; pifleet needs %.1f GiB: free some, then run the same command again"
                % (path, free / GIB, disk / GIB)
            )
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if total < memory:
        yield "the host has %.1f GiB of memory; pifleet needs %.1f GiB" % (total / GIB, memory / GIB)


def foreign_accounts(users):
    """Accounts of somebody else with our names or numbers."""
    for entry in pwd.getpwall():
        for user in users:
            if entry.pw_name == user["name"] and entry.pw_gecos != user["gecos"]:
                yield "account %s exists and is not of this fleet (comment %r): rename it or the developer" % (
                    entry.pw_name, entry.pw_gecos,
                )
            elif entry.pw_uid == int(user["uid"]) and entry.pw_name != user["name"]:
                yield "uid %d, which %s would get, belongs to %s" % (entry.pw_uid, user["name"], entry.pw_name)


def foreign_containers(fleet, names):
    """Containers of somebody else with our names; nothing where no engine answers yet."""
    try:
        for name in names:
            seen = Engine().find("/containers/%s/json" % name)
            owner = (seen["Config"].get("Labels") or {}).get("io.pifleet.fleet") if seen else fleet
            if owner != fleet:
                yield "container %s exists and belongs to %s: rename or remove it" % (
                    name, "fleet %s" % owner if owner else "nobody's fleet",
                )
    except EngineError:
        return


def main():
    text, texts = {"type": "str", "required": True}, {"type": "list", "elements": "str", "required": True}
    size = {"type": "int", "required": True}
    module = AnsibleModule(
        {
            "fleet": text, "users": {**texts, "elements": "dict"}, "containers": texts, "paths": texts, "disk": size,
            "memory": size, "systems": {"type": "dict", "required": True}, "machines": texts,
        },
        supports_check_mode=True,
    )
    asked = module.params
    problems = [
        *system(asked["systems"]),
        *machine(asked["machines"]),
        *room(asked["paths"], asked["disk"], asked["memory"]),
        *foreign_accounts(asked["users"]),
        *foreign_containers(asked["fleet"], asked["containers"]),
    ]
    if problems:
        module.fail_json(msg="; ".join(problems), problems=problems)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
