#!/usr/bin/python
"""Owns the question whether a host can carry an OpenShell gateway (0.0.x), asked before anything is installed.
It must not repair what it finds: every finding is a sentence for the operator."""

import ctypes
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils.engine import Engine, EngineError

DOCUMENTATION = """
module: openshell_needs
short_description: Says what stands in the way of an OpenShell gateway on a host
options:
  libc: {description: "The oldest glibc that the programs run with.", type: str, required: true}
  engine: {description: "The oldest Docker engine to accept, where one answers.", type: str, required: true}
"""

# landlock_create_ruleset(2): number 444 on every architecture, and asked with this flag it says the version it has.
CREATE_RULESET, ASK_VERSION = 444, 1


def numbers(text):
    return tuple(int(part) for part in text.split("-")[0].split("+")[0].split(".") if part.isdigit())


def landlock():
    """What is wrong with the kernel: without Landlock nothing keeps a sandbox from files that its policy closes."""
    if ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, ASK_VERSION) < 1:
        yield "the kernel %s has no Landlock, by which OpenShell closes files to sandboxes: use 5.13 or newer with " \
              "landlock among its lsm=" % os.uname().release


def libc(oldest):
    """What is wrong with the C library."""
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "another one").partition(" ")
    if name != "glibc" or numbers(version) < numbers(oldest):
        yield "the C library is %s %s; OpenShell needs glibc %s" % (name, version, oldest)


def engine(oldest):
    """What is wrong with the engine that is there; where there is none the role docker brings one."""
    try:
        version = Engine(timeout=20).get("/version")["Version"]
    except EngineError:
        return
    if numbers(version) < numbers(oldest):
        yield "Docker is %s; OpenShell needs %s: install it before this host has sandboxes, or set " \
              "pifleet_openshell.engine to the oldest one that you want to try" % (version, oldest)


def main():
    text = {"type": "str", "required": True}
    module = AnsibleModule({"libc": text, "engine": text}, supports_check_mode=True)
    problems = [*landlock(), *libc(module.params["libc"]), *engine(module.params["engine"])]
    if problems:
        module.fail_json(msg="; ".join(problems), problems=problems)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
