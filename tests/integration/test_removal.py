"""Removing a sandbox by command, full of tripwires: nothing of it runs, and nothing beside it and the results changes.
What was brought home so is put back by command.

The wires are those of tests/results; each is shown there to fire on the controller when it is sprung by hand.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.farm import BIN, WORK, Farm
from tests.lab.hosts import Host
from tests.results.site import Site
from tests.results.tripwires import WIRES

SANDBOX = Path("/var/lib/pifleet/sandboxes/ana-main")
# What a removal is there to change, what the sandbox's own gateway and the engine keep, and what logs grow by.
MEANT = (str(SANDBOX), "/etc/pifleet/", "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid",
         "/etc/subgid", "/etc/.pwd.lock", "/var/log/", "/var/lib/systemd/")
LIST = """
import json, os, sys
found = {}
for top in sys.argv[1:]:
    for folder, folders, names in os.walk(top):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys", "dev", "run")]
        if folder == "/var/lib":
            folders[:] = [name for name in folders if name not in ("docker", "containerd")]
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            facts = os.lstat(path)
            found[path] = [facts.st_mode, facts.st_uid, facts.st_gid]
            if name in names:
                found[path] += [facts.st_size, facts.st_ctime_ns]
print(json.dumps(found))
"""


class Planted:
    """A sandbox on a host that holds every wire, and the same traps, marks and victim on the host and here."""

    def __init__(self, farm: Farm, base: Path) -> None:
        self.farm, self.base, self.site = farm, base, Site(base)
        self.host: Host = farm.lab.host("farm-1")
        for name, wire in WIRES.items():
            self.site.repo(name)
            wire.plant(self.site, name)
        for place in (base, *base.iterdir()):
            place.chmod(0o777)
        self.over(base, base, "--exclude=./box")
        self.over(self.site.box.workspace, SANDBOX / "workspace", "--exclude=./api")
        self.over(self.site.box.home, SANDBOX / "home")
        self.owner = self.host.inside("stat", "-c", "%u:%g", str(SANDBOX / "workspace")).strip()
        for place in ("workspace", "home"):
            self.host.inside("chown", "-hR", self.owner, str(SANDBOX / place))

    def over(self, here: Path, there: Path, *options: str) -> None:
        """Copy a folder of this machine to one of the host."""
        self.host.inside("mkdir", "-p", str(there))
        with subprocess.Popen(["tar", "-C", here, *options, "-cf", "-", "."], stdout=subprocess.PIPE) as packed:
            subprocess.run(["docker", "exec", "-i", self.host.container, "tar", "-C", there, "-xf", "-"],
                           stdin=packed.stdout, check=True)

    def by_hand(self, folder: Path, *argv: str) -> None:
        """What a careless person on the host would do, with the rights of the files' owner."""
        uid, gid = self.owner.split(":")
        self.host.inside("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "env", "-C", str(folder),
                         "HOME=/nonexistent", *argv, check=False)

    def fired(self) -> list[str]:
        """The wires that were sprung, here or there."""
        marks = self.host.inside("ls", str(self.base / "sprung")).split()
        changed = self.host.inside("cat", str(self.site.victim / "secret")) != "untouched"
        others = self.host.inside("ls", str(self.site.victim)).split() != ["secret"]
        return sorted({*self.site.fired(), *marks, *(["victim"] if changed or others else [])})

    def listed_there(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = json.loads(self.host.inside("python3", "-c", LIST, "/"))
        return found

    def listed_here(self) -> dict[str, list[int]]:
        """What this machine has of the operator's: the inventory's folder, the traps, settings, accounts."""
        places = [self.farm.folder, self.base, "/etc", *(Path.home() / name for name in (".ssh", ".config"))]
        done = subprocess.run(["python3", "-c", LIST, *map(str, places)], capture_output=True, text=True, check=True)
        found: dict[str, list[int]] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def planted(small: Farm) -> Iterator[Planted]:
    done = small.provision()
    assert done.code == 0, done.out + done.err
    with TemporaryDirectory() as base:
        made = Planted(small, Path(base))
        assert made.fired() == []
        yield made


CARELESS: dict[str, tuple[str, Sequence[str]]] = {
    "fsmonitor": ("fsmonitor", ("git", "status")),
    "filter-clean": ("filter-clean", ("git", "add", "-A")),
    "hook-post-checkout": ("hook-post-checkout", ("git", "checkout", "-f", "other")),
    "bashrc": (".", ("env", f"HOME={SANDBOX / 'home'}", "bash", "-ic", "true")),
    "python-json": ("python-json", ("python3", "-c", "import json")),
    "victim": ("link-to-file", ("sh", "-c", "echo changed >> notes")),
}


@pytest.mark.parametrize("name", CARELESS)
def test_on_the_host_too_a_wire_fires_when_it_is_sprung_by_hand(planted: Planted, name: str) -> None:
    folder, argv = CARELESS[name]
    planted.by_hand(SANDBOX / "workspace" / folder, *argv)
    fired = planted.fired()
    planted.host.inside("sh", "-c", 'rm -f "$0"/*; echo untouched > "$1"', str(planted.base / "sprung"),
                        str(planted.site.victim / "secret"))
    assert fired == [name]
    assert planted.fired() == []


def test_removing_the_sandbox_springs_none_and_changes_nothing_else(planted: Planted) -> None:
    farm = planted.farm
    here, there = planted.listed_here(), planted.listed_there()
    done = farm.pifleet("remove", "ana", "--yes", "-o", "json")

    assert done.code == 0, done.out + done.err
    [pull] = done.json["pulls"]
    assert (pull["result"], pull["incomplete"]) == ("new", [])
    assert {"fsmonitor", "gitfile", "commondir", "link-chain"} <= set(os.listdir(farm.results / "ana/main/workspace"))
    assert planted.fired() == []
    assert "ana-main" not in farm.docker("farm-1", "ps", "-a")
    assert planted.host.inside("sh", "-c", f"ls -d {SANDBOX} /run/pifleet/ana-main.lock 2>&1 | grep -v 'No such'",
                               check=False) == ""
    assert _changed(here, planted.listed_here(), (str(farm.results), *farm.sources)) == []
    assert _changed(there, planted.listed_there(), MEANT) == []


def test_what_a_removal_brought_home_is_put_into_the_next_sandbox_by_one_command(small: Farm) -> None:
    assert small.provision().code == 0
    assert small.pifleet("exec", "ana", "--", "sh", "-c", WORK.format(repo="api")).code == 0
    removed = small.pifleet("remove", "ana", "--yes", "-o", "json")
    before = removed.json["pulls"][0]["generation"]
    assert small.provision().code == 0

    back = small.pifleet("results", "restore", "ana", "--to-sandbox", "ana", "-o", "json")
    again = small.pifleet("results", "restore", "ana", "--to-sandbox", "ana", "-o", "json")

    assert (removed.code, back.code, again.code) == (0, 0, 0), back.out + back.err
    assert {unit["name"]: unit["result"] for unit in back.json["units"]}["api"] == "restored"
    assert {unit["result"] for unit in again.json["units"]} == {"equal"}
    assert "rebase in progress" in small.pifleet("exec", "ana", "--", "git", "-C", "api", "status").out
    assert small.pifleet("exec", "ana", "--", "git", "-C", "api", "stash", "list").out.count("stash@") == 2
    [pull] = small.pifleet("pull", "ana", "-o", "json").json["pulls"]
    assert pull["incomplete"] == []
    diff = small.pifleet("results", "diff", "ana", str(before), str(pull["generation"]), "-o", "json")
    assert diff.json["units"] == []


def test_an_operator_with_another_store_is_told_who_removes_the_sandbox(small: Farm, tmp_path: Path) -> None:
    assert small.provision().code == 0
    other = replace(small, folder=tmp_path, overlay={**small.overlay, "pifleet_results": str(tmp_path / "results")})
    sources = [part for source in small.sources for part in ("-i", source)]
    with subprocess.Popen([str(BIN / "pifleet"), "remove", "ana", "--yes", *sources], cwd=small.folder, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as removal:
        assert removal.stderr
        while "hosts  farm-1" not in (line := removal.stderr.readline()):
            assert line, "the removal ended before it began"
        with standing_still(removal.pid):
            refused = other.pifleet("pull", "ana", "-o", "json")
        removal.stderr.read()

    [pull] = refused.json["pulls"]
    assert (removal.returncode, refused.code, pull["generation"]) == (0, 1, None)
    assert pull["error"]["headline"] == "ana/main is busy"
    assert re.match(rf"removal by .+@.+ \(process {removal.pid}\) since 20", pull["error"]["saw"])


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """A process and all that it started do nothing for a while; locks and connections stay theirs."""
    family = [pid]
    for one in family:  # grows by each one's children
        os.kill(one, signal.SIGSTOP)
        family += [int(child) for task in Path(f"/proc/{one}/task").iterdir()
                   for child in (task / "children").read_text().split()]
    try:
        yield
    finally:
        for one in family:
            os.kill(one, signal.SIGCONT)


def _changed(before: dict[str, list[int]], after: dict[str, list[int]], meant: tuple[str, ...]) -> list[str]:
    changed = (path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return sorted(path for path in changed if not path.startswith(meant))
