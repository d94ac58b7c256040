"""Owns the command line of the bench. It must not measure."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import commands, place
from tests.bench.table import Row, Table

Case = Callable[[], Iterator[Row]]
_DISK = {"results": 20, "store": 8}  # gigabytes that must be free


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    what.add_parser("commands", help="help and version against `import click`; inventory against ansible-inventory")
    plan = what.add_parser("plan", help="plan of an unchanged fleet against ansible-inventory and `ssh HOST true` each")
    plan.add_argument("-i", dest="inventories", action="append", required=True)
    what.add_parser("results", help="pull against rsync, git fetch and tar | zstd, quiet and with 50 ms")
    what.add_parser("gateway", help="first byte through the model gateway against a direct connection; many streams")
    what.add_parser("gondolin", help="pattern gondolin against pi's example extension on one lab host")
    what.add_parser("cluster", help="500 sandboxes of a cluster against the same objects by a bare client; their plan")
    store = what.add_parser("store", help="how the store grows, and restoring one file from it")
    store.add_argument("--pulls", type=int, default=1000, help="of the growing log (%(default)s)")
    for part in what.choices.values():
        part.add_argument("--only", action="append", default=[], metavar="CASE", help="one case; all when left out")
        part.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return parser.parse_args(sys.argv[1:] or ["commands"])


def _cases(asked: argparse.Namespace, folder: Path) -> dict[str, Case]:
    """By name; what is heavy to import is only imported where it is measured."""
    if asked.what == "commands":
        return {"commands": commands.commands}
    if asked.what == "plan":
        return {"plan": lambda: commands.plan(asked.inventories)}
    if asked.what == "gateway":
        from tests.bench import gateway

        return {"first-byte": gateway.first_byte, "streams": gateway.streams}
    if asked.what == "gondolin":
        from tests.bench import gondolin

        return gondolin.cases(folder)
    if asked.what == "cluster":
        from tests.bench import cluster

        return cluster.cases(folder)
    if asked.what == "store":
        from tests.bench import store

        return store.cases(folder, asked.pulls)
    from tests.bench import results

    return results.cases(folder)


def main() -> int:
    asked = _asked()
    os.chdir(place.ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was made goes
    with place.scratch(_DISK.get(asked.what, 0)) as folder:
        cases = _cases(asked, folder)
        if unknown := set(asked.only) - cases.keys():
            sys.exit(f"bench  no case {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
        tools = place.tools() if asked.what in _DISK else {}
        table = Table({**tools, "load": " ".join(f"{value:.1f}" for value in os.getloadavg())})
        for name in asked.only or cases:
            try:
                for row in cases[name]():
                    table.add(row)
            except place.Failed as error:
                table.fail(name, str(error))
    return table.end(asked.json)


if __name__ == "__main__":
    sys.exit(main())
