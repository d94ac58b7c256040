#!/usr/bin/python
"""Owns the programs of OpenShell on a host: installed from packages whose checksum is in their name, found by links.
It must not fetch a package, and starts nothing but `--version`."""

import hashlib
import os
import shutil
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import openshell, paths

DOCUMENTATION = """
module: openshell_programs
short_description: Have OpenShell's command, gateway and supervisor
description:
  - Debian packages are installed with dpkg, archives are unpacked into a folder of their own.
options:
  packages:
    description: Files named by their sha256, ending in .deb or .tar.gz.
    type: list
    elements: path
    required: true
  version: {description: "What command and gateway must say they are.", type: str, required: true}
  folder: {description: "Where the programs are linked.", type: path, required: true}
  alone:
    description: Only the command is wanted; a Debian package is unpacked for it, not installed.
    type: bool
    default: false
"""

# The first start of a program may take its time: it is read from a disk that has just been written to.
SECONDS_AT_FIRST = 180
SYSTEM = ("/usr/bin", "/usr/local/bin", "/usr/libexec/openshell")


class Unfit(Exception):
    """A package is not what it should be."""


def check(package):
    """Raise Unfit unless the file has the checksum in its name."""
    total = hashlib.sha256()
    with open(package, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            total.update(chunk)
    wanted = os.path.basename(package).split(".")[0]
    if total.hexdigest() != wanted:
        raise Unfit("%s has the sha256 %s" % (package, total.hexdigest()))


def held(package):
    """The version that a Debian package says it holds, without the packaging's own number."""
    done = subprocess.run(["dpkg-deb", "--field", package, "Version"], capture_output=True, text=True, check=True,
                          stdin=subprocess.DEVNULL)
    return done.stdout.strip().rpartition(":")[2].partition("-")[0]


def install(package, folder, version, alone):
    """Install one package; returns the folders in which its programs may be."""
    check(package)
    debian = package.endswith(".deb")
    if debian and held(package) != version.partition("-")[0]:
        raise Unfit("the package holds %s, and pifleet_openshell.version is %s" % (held(package), version))
    if debian and not alone:
        done = subprocess.run(["dpkg", "--install", package], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        if done.returncode:
            raise Unfit("dpkg: %s" % done.stderr.strip().splitlines()[-1:])
        return list(SYSTEM)
    target = os.path.join(folder, "unpacked-" + os.path.basename(package)[:12])
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target + ".new", mode=0o755, exist_ok=True)
    # The archive is the very one whose checksum the inventory gives; its own names are still held inside.
    unpack = ["dpkg-deb", "--extract", package, target + ".new"] if debian else [
        "tar", "-xzf", package, "--no-same-owner", "-C", target + ".new"]
    subprocess.run(unpack, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    os.rename(target + ".new", target)
    return [where for where, _, _ in os.walk(target)]


def main():
    module = AnsibleModule(
        {
            "packages": {"type": "list", "elements": "path", "required": True},
            "version": {"type": "str", "required": True},
            "folder": {"type": "path", "required": True},
            "alone": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    folder, version, alone = (module.params[key] for key in ("folder", "version", "alone"))
    look, commands = (openshell.command_alone, openshell.COMMAND) if alone else (openshell.programs, openshell.COMMANDS)
    every = {"command": version, "gateway": version, "supervisor": True, "intact": True}
    before, after = look(folder), {key: every[key] for key in (*commands, "intact")}
    diff = {"before": before, "after": after, "before_header": folder, "after_header": folder}
    if before == after:
        module.exit_json(changed=False, diff=diff)
    if module.check_mode:
        module.exit_json(changed=True, diff=diff)
    try:
        places = [place for package in module.params["packages"] for place in install(package, folder, version, alone)]
        for name in commands.values():
            link = os.path.join(folder, name)
            found = [path for place in places for path in [os.path.join(place, name)] if os.access(path, os.X_OK)]
            if not found:
                raise Unfit("none of the packages holds %s" % name)
            if os.path.lexists(link + ".new"):
                os.unlink(link + ".new")
            os.symlink(found[0], link + ".new")
            os.replace(link + ".new", link)
        paths.write_file(os.path.join(folder, openshell.SUMS), openshell.sums(folder, commands).encode(), 0o644)
    except (OSError, paths.PathError, subprocess.SubprocessError, Unfit) as error:
        module.fail_json(msg="OpenShell was not installed: %s" % error)
    now = look(folder, SECONDS_AT_FIRST)
    wrong = ["%s is %s" % (name, now.get(kind) or "of a version that it does not say")
             for kind, name in commands.items() if now.get(kind) != after[kind]]
    if wrong:
        module.fail_json(msg="%s; pifleet_openshell.version is %s" % ("; ".join(wrong), version))
    module.exit_json(changed=True, diff=diff)


if __name__ == "__main__":
    main()
