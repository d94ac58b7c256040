#!/usr/bin/python
"""Owns making a small Debian file system as a tar, from the mirrors that this host's own apt is configured for.
It must not know what the file system becomes."""

import re
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: image_bootstrap
short_description: Bootstrap a Debian root file system with mmdebstrap
description:
  - Always writes; meant for a file in a fresh folder.
  - Acquire options of this host's apt (proxy, CA, validity of release files) hold for the bootstrap and do not stay in
    the file system.
options:
  target: {description: "File to write, named .tar.", type: path, required: true}
  suite: {description: "Debian release.", type: str, required: true}
  packages: {description: "Packages besides the minimal base.", type: list, elements: str, required: true}
  mirror:
    description:
      - Mirror URI or lines of a sources.list; C({date}) stands for the date.
      - Empty means this host's own sources if they serve the suite, else the default of mmdebstrap.
    type: str
    default: ""
  date: {description: "Snapshot of the mirror to use.", type: str, default: ""}
"""

EXAMPLES = r"""
- pifleet.fleet.image_bootstrap: {target: /var/lib/pifleet/build/x/rootfs.tar, suite: bookworm, packages: [git]}
"""

RETURN = r"""
mirrors: {description: What mmdebstrap was told to use., type: list, elements: str, returned: success}
"""

FORMAT = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
TARGETS = ["apt-get", "indextargets", "--format", FORMAT, "Created-By: Packages"]
SHOWN = 15
LEAVE_OUT = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
# mmdebstrap would keep the host's apt options, possibly a proxy with a password, in this file.
FORGET_OPTIONS = 'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap'


def apt_options(dump):
    """The host's Acquire options, as mmdebstrap takes them, from the text of `apt-config dump`."""
    lines = re.findall(r'^(Acquire::\S+ ".+");$', dump, re.MULTILINE)
    return [line for line in lines if not line.startswith(("Acquire::IndexTargets", "Acquire::Changelogs"))]


def own_mirrors(targets, suite):
    """Lines for a sources.list with Debian's `suite`, its updates and its security, as apt's index targets name them.

    An origin that apt could not fill in, for want of downloaded lists, counts as Debian's.
    """
    releases, found = {suite, suite + "-updates", suite + "-security"}, {}
    for line in targets.splitlines():
        origin, uri, release, component = line.split("|")
        if origin in ("Debian", "$(ORIGIN)") and release in releases:
            found.setdefault((uri, release), []).append(component)
    lines = ["deb %s %s %s" % (*place, " ".join(dict.fromkeys(parts))) for place, parts in found.items()]
    return lines if any(release == suite for _, release in found) else []


def argv(params, mirrors, options):
    """The command line of mmdebstrap (mmdebstrap(1))."""
    return [
        "mmdebstrap", "--variant=minbase", "--format=tar", "--include=" + ",".join(params["packages"]),
        *("--aptopt=" + option for option in options),
        *("--dpkgopt=" + option for option in LEAVE_OUT),
        "--customize-hook=" + FORGET_OPTIONS,
        "--", params["suite"], params["target"], *mirrors,
    ]  # fmt: skip


def output(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout


def main():
    module = AnsibleModule(
        argument_spec={
            "target": {"type": "path", "required": True},
            "suite": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "required": True},
            "mirror": {"type": "str", "default": ""},
            "date": {"type": "str", "default": ""},
        }
    )
    params = module.params
    if params["date"] and "{date}" not in params["mirror"]:
        module.fail_json(msg="A date needs a mirror that serves dates, with {date} in it; saw %r" % params["mirror"])
    given = params["mirror"].replace("{date}", params["date"]).splitlines()
    mirrors = given or own_mirrors(output(TARGETS), params["suite"])
    command = argv(params, mirrors, apt_options(output(["apt-config", "dump"])))
    code, _, log = module.run_command(command, umask=0o022)
    if code:
        end = "\n".join(log.splitlines()[-SHOWN:])
        module.fail_json(msg="Debian %s was not bootstrapped (mmdebstrap exit %d):\n%s" % (params["suite"], code, end))
    module.exit_json(changed=True, mirrors=mirrors)


if __name__ == "__main__":
    main()
