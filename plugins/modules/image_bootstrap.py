#!/usr/bin/python
"""Owns making a small Debian file system as a tar, from the mirrors that this host's own apt is configured for.
It must not know what the file system becomes."""

import os
import re
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: image_bootstrap
short_description: Bootstrap a Debian root file system with mmdebstrap
description:
  - Always writes; meant for a file in a fresh folder.
  - Acquire options of this host's apt (proxy, CA, validity of release files) hold for the bootstrap.
    They do not stay in the file system, nor does a password in the URI of a mirror.
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
  kernel: {description: "A package that depends on a kernel, of which the file is laid into /kernel and not installed.",
    type: str, default: ""}
"""

EXAMPLES = r"""
- pifleet.fleet.image_bootstrap: {target: /var/lib/pifleet/build/x/rootfs.tar, suite: bookworm, packages: [git]}
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
# The host's own trusted keys, and those of Debian for a host that is not Debian.
KEYRINGS = ("/etc/apt/trusted.gpg.d", "/usr/share/keyrings/debian-archive-keyring.gpg")
# mmdebstrap would keep the host's apt options and mirrors with their passwords.
FORGET = (
    'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap',
    'find "$1"/etc/apt -name "*.list" -exec sed -i "s#://[^/ ]*@#://#" {} +',
)
# Installed, a kernel would bring along what makes an initramfs; only its file is wanted.
KERNEL = (
    'set -e; export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; mkdir "$1"/kernel; cd "$1"/kernel; '
    'apt-get download "$(apt-cache depends %s | sed -n "s/.*Depends: //p" | head -n 1)"'
)


def apt_options(dump):
    """Lines for an apt.conf with the host's Acquire options, from the text of `apt-config dump`."""
    lines = re.findall(r'^Acquire::\S+ ".+";$', dump, re.MULTILINE)
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


def given_mirrors(mirror, date, suite):
    """Lines for a sources.list from the operator's URI or lines."""
    lines = mirror.replace("{date}", date).splitlines()
    return [line if line.startswith("deb ") else "deb %s %s main" % (line, suite) for line in lines]


def argv(params, options, mirrors):
    """The command line of mmdebstrap (mmdebstrap(1)); without a sources.list in `mirrors` it takes its own default."""
    return [
        "mmdebstrap", "--variant=minbase", "--format=tar", "--include=" + ",".join(params["packages"]),
        "--aptopt=" + options,
        *("--keyring=" + path for path in KEYRINGS if os.path.exists(path)),
        *("--dpkgopt=" + option for option in LEAVE_OUT),
        *(["--customize-hook=" + KERNEL % params["kernel"]] if params.get("kernel") else []),
        *("--customize-hook=" + command for command in FORGET),
        "--", params["suite"], params["target"], *([mirrors] if mirrors else []),
    ]  # fmt: skip


def written(folder, name, lines):
    """The path of a private file: options and mirrors may hold passwords and must not show in the process list."""
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.writelines(line + "\n" for line in lines)
    return path


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
            "kernel": {"type": "str", "default": ""},
        }
    )
    params = module.params
    if params["date"] and "{date}" not in params["mirror"]:
        module.fail_json(msg="A date needs a mirror that serves dates, with {date} in it; saw %r" % params["mirror"])
    mirrors = given_mirrors(params["mirror"], params["date"], params["suite"])
    mirrors = mirrors or own_mirrors(output(TARGETS), params["suite"])
    command = argv(
        params,
        written(module.tmpdir, "apt.conf", apt_options(output(["apt-config", "dump"]))),
        written(module.tmpdir, "sources.list", mirrors) if mirrors else "",
    )
    code, _, log = module.run_command(command, umask=0o022)
    if code:
        end = "\n".join(log.splitlines()[-SHOWN:])
        module.fail_json(msg="Debian %s was not bootstrapped (mmdebstrap exit %d):\n%s" % (params["suite"], code, end))
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
