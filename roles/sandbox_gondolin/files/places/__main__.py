"""Owns the closed places that a sandbox of pattern gondolin is on its host.
It must not know what is done in them. Run as root; what it starts is the developer's, without a way back.

  places keep ID | places stop ID | places enter ID PLACE WORKDIR WORD...

  machine  the micro-VM's host side: the workspace, the socket to the egress proxy; no home, no model
  agent    pi: its home and the socket to the model; an empty folder where the workspace is, which it cannot see
  work     pifleet's own programs: workspace and home; no socket, no network

Each has file system, processes and network of its own, and all three share the sandbox's limits. A folder that is run
as a program (`python3 -I FOLDER`) finds its modules in itself and nowhere else.
"""

import json
import os
import sys

from life import keep, stop
from place import ROOT, enter


def main(argv):
    verb, sandbox, *rest = argv
    if verb == "stop":
        return stop(sandbox)
    with open(os.path.join(ROOT, sandbox, "etc", "place.json")) as file:
        box = json.load(file)
    if verb == "keep":
        return keep(box)
    return enter(box, rest[0], rest[1], rest[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
