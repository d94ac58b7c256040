"""A gateway of the test double by hand: `python -m tests.lab.openshell up`.

Owns the command line; must not know how anything is done.
"""

import argparse
import shutil
import sys
from pathlib import Path

from tests.lab.engine import LabError, ensure
from tests.lab.farm import ROOT
from tests.lab.openshell import package, wheel
from tests.lab.openshell.double import Double, clean


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m tests.lab.openshell", description=__doc__.splitlines()[0])
    main.add_argument("--name", default="main", help="its name, also its sandbox namespace (default %(default)s)")
    verbs = main.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="serve on a free port of the loopback until interrupted")
    verbs.add_parser("clean", help="remove every container and file of this name")
    pack = verbs.add_parser("pack", help="write a folder like a release: archives, a Debian package, checksums")
    pack.add_argument("folder", type=Path)
    pack.add_argument("--python", default=package.PYTHON, help="of the hosts it is for (default %(default)s)")
    verbs.add_parser("command", help="print the path of the real openshell command")
    return main


def main() -> int:
    options = parser().parse_args()
    try:
        ensure()
        if options.verb == "command":
            print(wheel.command())
        elif options.verb == "clean":
            clean(options.name)
            shutil.rmtree(home(options.name), ignore_errors=True)
        elif options.verb == "pack":
            print(package.release(options.folder, options.python))
        else:
            serve(options.name)
    except LabError as error:
        print(f"openshell double {options.name}: {error}", file=sys.stderr)
        return 1
    return 0


def home(name: str) -> Path:
    return ROOT / ".lab" / f"openshell-{name}"


def serve(name: str) -> None:
    double = Double(home(name), name)
    double.start()
    print(f"{wheel.command()} gateway add {double.url} --name {name}", flush=True)
    try:
        assert double.process
        double.process.wait()
    except KeyboardInterrupt:
        double.stop()


if __name__ == "__main__":
    sys.exit(main())
