"""Owns what the commands themselves cost, in CPU seconds of whole process trees.
It must not know what bringing results home costs."""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator

from tests.bench.place import ROOT
from tests.bench.table import Row, ratio

RUNS = 7
_BIN = ROOT / ".venv" / "bin"
PIFLEET = str(_BIN / "pifleet")


def commands() -> Iterator[Row]:
    """help and version against `import click`; reading the inventory against ansible-inventory."""
    click = [[str(_BIN / "python"), "-c", "import click"]]
    inventory = str(ROOT / "inventory" / "local.yml")
    read = "import sys; from pathlib import Path; from pifleet.inventory import load; load([Path(sys.argv[1])])"
    yield _compare("pifleet --help: import click", [[PIFLEET, "--help"]], click, 3)
    yield _compare("pifleet --version: import click", [[PIFLEET, "--version"]], click, 3)
    yield _compare("reading the inventory: ansible-inventory", [[str(_BIN / "python"), "-c", read, inventory]],
                   [[str(_BIN / "ansible-inventory"), "-i", inventory, "--list"]], 1.25)


def plan(inventories: list[str]) -> Iterator[Row]:
    """plan of an unchanged fleet against ansible-inventory plus `ssh HOST true` each."""
    sources = [word for path in inventories for word in ("-i", path)]
    listing = [str(_BIN / "ansible-inventory"), *sources, "--list"]
    known = json.loads(subprocess.run(listing, capture_output=True, text=True, check=True).stdout)
    hosts = [known["_meta"]["hostvars"][name] for name in known["pifleet_docker"]["hosts"]]
    yield _compare(f"plan, {len(hosts)} hosts: inventory + ssh true", [[PIFLEET, "plan", *sources]],
                   [listing, *(_ssh_true(host) for host in hosts)], 2.5)


def _compare(name: str, ours: list[list[str]], theirs: list[list[str]], bar: float) -> Row:
    for argv in (*ours, *theirs):
        cpu_seconds(argv)
    return ratio(name, "s", [(sum(map(cpu_seconds, ours)), sum(map(cpu_seconds, theirs))) for _ in range(RUNS)], bar)


def cpu_seconds(argv: list[str]) -> float:
    """CPU time, user and system, of one run of a command and all that it started and waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):
        sys.exit(f"{shlex.join(argv)} exited {done.returncode}: {done.stderr[-800:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _ssh_true(host: dict[str, str]) -> list[str]:
    options = ["-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={host['pifleet_known_hosts']}"]
    key = ["-i", host["ansible_ssh_private_key_file"]]
    return ["ssh", *options, *key, f"{host['ansible_user']}@{host['ansible_host']}", "--", "true"]
