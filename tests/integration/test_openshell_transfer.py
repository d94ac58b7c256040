"""What it costs to bring work out of a sandbox, beside the real command's own download in the same run.

Bytes on the wire, packets towards the host and processor time here are held against each other, both by one ssh
connection to the gateway's host. What each cost is printed: see it with -rP.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.openshell import Shell, until
from tests.integration.shells import HOST, Shells
from tests.lab.openshell import wheel
from tests.lab.openshell.double import free_port

MAKE = """
import os, random, sys
made = random.Random(sys.argv[1]); count, size = map(int, sys.argv[2:])
for number in range(count):
    folder = f"/workspace/data/{number % 100}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{number}", "wb") as file: file.write(made.randbytes(size))
"""
SUMS = "cd /workspace/data && find . -type f -exec sha256sum {} + | sort -k 2"
# A pull needs as much of the processor as a small download only to start and read the inventory, for one sandbox as for
# fifty; an unchanged one tells how much. Then it hashes and checks every file and writes it twice, to store and folder.
TIMES = 1.5
TREES = {"100 MB in 4,000 files": (4000, 26_214), "20,000 small files": (20_000, 200)}


@dataclass(frozen=True)
class Cost:
    """Bytes both ways, packets towards the host, seconds of this machine's processor, seconds in all."""

    bytes: int
    packets: int
    processor: float
    seconds: float


@pytest.fixture(scope="module")
def farm(shells: Shells) -> Iterator[Shells]:
    yield shells.with_developers(ana={"artifacts": ["data/**"]})
    shells.inside("ana", "rm -rf /workspace/data")


@pytest.fixture(scope="module")
def tunnel(farm: Shells, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, int]]:
    """The real command here, registered with the gateway behind a tunnel, and the tunnel's process."""
    home, port, host = tmp_path_factory.mktemp("operator"), free_port(), farm.lab.host(HOST)
    folder = home / "config" / "openshell" / "gateways" / "lab"
    (folder / "mtls").mkdir(parents=True)
    for name in ("ca.crt", "tls.crt", "tls.key"):
        path = f"/var/lib/pifleet/openshell/client/config/openshell/gateways/pifleet/mtls/{name}"
        (folder / "mtls" / name).write_text(host.inside("cat", path) + "\n")
    (folder / "metadata.json").write_text(json.dumps({
        "name": "lab", "gateway_endpoint": f"https://127.0.0.1:{port}", "is_remote": False, "gateway_port": 0,
        "auth_mode": "mtls"}))
    forward = ["-N", "-L", f"{port}:127.0.0.1:17670"]
    argv = host.ssh_command()
    process = subprocess.Popen([argv[0], *forward, *argv[1:]], stdin=subprocess.DEVNULL)
    shell = Shell(home, Path(wheel.command()), {"OPENSHELL_GATEWAY": "lab"})
    try:
        until(lambda: shell("status").code == 0 and "Version" in shell("status").said, seconds=60)
        yield shell, process.pid
    finally:
        process.kill()
        process.wait()


def measured(farm: Shells, act: Callable[[], object], also: int = 0) -> Cost:
    """What an act costs; `also` is a process whose time counts too."""

    def wire() -> list[int]:
        said = farm.as_root("cd /sys/class/net/eth0/statistics && cat tx_bytes rx_bytes rx_packets")
        return [int(line) for line in said.split()]

    def processor() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        ticks = Path(f"/proc/{also}/stat").read_text().rpartition(")")[2].split()[11:13] if also else ("0", "0")
        return used.ru_utime + used.ru_stime + sum(map(int, ticks)) / 100

    sent, got, packets = wire()
    time_used, start = processor(), time.monotonic()
    act()
    seconds, used = time.monotonic() - start, processor() - time_used
    now = wire()
    return Cost(now[0] - sent + now[1] - got, now[2] - packets, used, seconds)


def sums(folder: Path) -> str:
    found = {f"./{path.relative_to(folder)}": hashlib.sha256(path.read_bytes()).hexdigest()
             for path in folder.rglob("*") if path.is_file()}
    return "".join(f"{found[name]}  {name}\n" for name in sorted(found))


@dataclass(frozen=True)
class Brought:
    """A tree as it is inside, and as both ways brought it here; what each cost, and a second pull with what it said."""

    inside: list[str]
    downloaded: list[str]
    pulled: list[str]
    theirs: Cost
    ours: Cost
    second: Cost
    again: dict[str, Any]


@pytest.fixture(scope="module")
def brought(
    farm: Shells, tunnel: tuple[Shell, int], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Brought]:
    """Bring a tree out of the sandbox both ways; once, however many ask."""
    done: dict[str, Brought] = {}

    def bring(tree: str) -> Brought:
        if tree not in done:
            # A results folder of its own: to remove the tree before from there would be counted too.
            home = tmp_path_factory.mktemp("home")
            fresh = replace(farm, overlay={**farm.overlay, "pifleet_results": str(home / "results")})
            done[tree] = both_ways(fresh, tunnel, tree, home)
        return done[tree]

    return bring


def both_ways(farm: Shells, tunnel: tuple[Shell, int], tree: str, home: Path) -> Brought:
    """Down into `home`/down and `home`/results."""
    shell, process = tunnel
    count, size = TREES[tree]
    down = home / "down"
    farm.inside("ana", "rm -rf /workspace/data")
    made = farm.pifleet("exec", "ana", "--", "python3", "-c", MAKE, tree, str(count), str(size))
    assert made.code == 0, made.err
    inside = sorted(farm.inside("ana", SUMS).splitlines())

    theirs = measured(farm, lambda: shell.ok(
        "sandbox", "download", "ana-main", "/workspace/data", down, "--workspace", "pi-ana", seconds=600), process)
    said: list[dict[str, Any]] = []
    ours = measured(farm, lambda: said.extend(farm.pifleet("pull", "ana", "-o", "json").json["pulls"]))
    second = measured(farm, lambda: said.extend(farm.pifleet("pull", "ana", "-o", "json").json["pulls"]))

    for name, cost in (("openshell sandbox download", theirs), ("pifleet pull", ours), ("a second one", second)):
        print(f"{tree:22} {name:27} {cost.bytes:>11,} bytes {cost.packets:>7,} packets "
              f"{cost.processor:6.2f} s here {cost.seconds:6.2f} s")
    assert said[0]["result"] == "new"
    kept = home / "results" / "ana" / "main" / "workspace" / "data"
    return Brought(inside, sorted(sums(down).splitlines()), sorted(sums(kept).splitlines()), theirs, ours, second,
                   said[1])


@pytest.mark.parametrize("tree", TREES)
class TestBesideADownload:
    def test_a_pull_brings_every_byte(self, brought: Callable[[str], Brought], tree: str) -> None:
        done = brought(tree)

        assert len(done.inside) == TREES[tree][0]
        assert done.downloaded == done.inside
        assert done.pulled == done.inside

    @pytest.mark.parametrize("what", ["bytes", "packets"])
    def test_it_costs_no_more(self, brought: Callable[[str], Brought], tree: str, what: str) -> None:
        done = brought(tree)

        assert getattr(done.ours, what) <= getattr(done.theirs, what)

    def test_beyond_its_start_it_takes_hardly_more_of_the_processor(
        self, brought: Callable[[str], Brought], tree: str
    ) -> None:
        done = brought(tree)

        assert done.ours.processor - done.second.processor <= TIMES * done.theirs.processor

    def test_an_unchanged_second_one_is_small(self, brought: Callable[[str], Brought], tree: str) -> None:
        again = brought(tree).again

        assert again["result"] == "unchanged"
        assert again["bytes"] < 1000
