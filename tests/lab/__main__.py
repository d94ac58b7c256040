"""The lab from a shell: `python -m tests.lab up`.

Owns the command line; must not know how anything is done.
"""

import argparse
import os
import subprocess
import sys
import time

from tests.lab import image
from tests.lab.cluster import command as cluster
from tests.lab.engine import LabError
from tests.lab.farm import HOSTS, Lab
from tests.lab.gitserver import PRIVATE, PUBLIC
from tests.lab.hosts import Host

TROUBLE = ("stop", "kill", "start", "pause", "unpause", "cut", "heal", "fill", "unfill")


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m tests.lab", description="Hosts, a git server and a model to test on")
    main.add_argument("--lab", default=os.environ.get("PIFLEET_LAB", "main"), help="its name (default %(default)s)")
    verbs = main.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="start what is missing")
    up.add_argument("names", nargs="*", default=HOSTS, metavar="HOST")
    up.add_argument("--data", metavar="SIZE", help="give the hosts disks of their own, as 600M")
    up.add_argument("--snapshot", metavar="IMAGE", help="make the hosts from a snapshot")
    verbs.add_parser("inventory", help="print a second inventory with the hosts' addresses")
    verbs.add_parser("status", help="print what is up and how it is reached")
    verbs.add_parser("reset", help="make hosts anew").add_argument("names", nargs="+", metavar="HOST")
    down = verbs.add_parser("down", help="remove everything of this lab")
    down.add_argument("--caches", action="store_true", help="and the images and archives that all labs share")
    snapshot = verbs.add_parser("snapshot", help="keep a host's files as an image")
    snapshot.add_argument("name", metavar="HOST")
    snapshot.add_argument("tag")
    ssh = verbs.add_parser("ssh", help="log in, or run a command")
    ssh.add_argument("name", metavar="HOST")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    cluster.add(verbs)
    for verb in TROUBLE:
        verbs.add_parser(verb, help=str(getattr(Host, verb).__doc__)).add_argument("name", metavar="HOST")
    return main


def status(lab: Lab) -> str:
    """Every machine and every address, one a line."""
    machines = lab.machines()
    if not machines:
        return f"lab {lab.name}: nothing is up"
    lines = [f"{name:10} {host.address:15} {host.state_now()}" for name, host in machines.items()]
    lines += [f"{'web':10} {lab.git.http_url(PUBLIC)}  {lab.git.ssh_url(PUBLIC)}"]
    lines += [f"{'api':10} {lab.git.http_url(PRIVATE)}  {lab.git.ssh_url(PRIVATE)}"]
    lines += [f"{'token':10} {lab.git.token_file}", f"{'git key':10} {lab.git.key}"]
    lines += [f"{'ops key':10} {lab.state / 'id_ed25519'}", f"{'host keys':10} {lab.state / 'known_hosts'}"]
    lines += [f"{'model':10} {lab.model.url} (any key)  {lab.model.keyed_url} (one key)"]
    return "\n".join(lines)


def act(lab: Lab, options: argparse.Namespace) -> int:
    started = time.monotonic()
    match options.verb:
        case "up":
            lab.up(options.names, options.snapshot, options.data)
        case "inventory":
            print(lab.inventory(), end="")
        case "status":
            print(status(lab))
        case "reset":
            lab.reset(options.names)
        case "down":
            lab.down()
            if options.caches:
                image.forget()
        case "snapshot":
            print(lab.host(options.name).snapshot(options.tag))
        case "cluster":
            return cluster.act(lab.name, options)
        case "ssh":
            return subprocess.run([*lab.host(options.name).ssh_command(), *options.command], check=False).returncode
        case trouble:
            getattr(lab.host(options.name), trouble)()
    if options.verb not in ("inventory", "status", "snapshot"):
        print(f"lab {lab.name}: {options.verb} took {time.monotonic() - started:.1f} s", file=sys.stderr)
    return 0


def main() -> int:
    options = parser().parse_args()
    try:
        return act(Lab(options.lab), options)
    except LabError as error:
        print(f"lab {options.lab}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
