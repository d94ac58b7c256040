"""The cluster from a shell: `python -m tests.lab cluster up`.

Owns this part of the command line; must not know how anything is done.
"""

import argparse
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.cluster import Cluster

VERBS: dict[str, Callable[[Cluster], object]] = {
    "down": Cluster.down,
    "stop-api": Cluster.stop_api,
    "start-api": Cluster.start_api,
    "stop-kubelet": Cluster.stop_kubelet,
    "start-kubelet": Cluster.start_kubelet,
    "enforce-policies": Cluster.enforce_policies,
    "ignore-policies": Cluster.ignore_policies,
    "accept": Cluster.accept,
}


def add(verbs: Any) -> None:
    """Add `cluster` and what can be done with one to the lab's verbs."""
    main = verbs.add_parser("cluster", help="a Kubernetes cluster").add_subparsers(dest="act", required=True)
    up = main.add_parser("up", help="start what is missing; prints where the kubeconfig lies")
    up.add_argument("--node", action="store_true", help="with a node on which pods run")
    main.add_parser("status", help="print what runs and where the kubeconfig lies")
    load = main.add_parser("load", help="import the archives of images")
    load.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    enter = main.add_parser("enter", help="run a command inside: kubectl, ctr, ip ...")
    enter.add_argument("command", nargs=argparse.REMAINDER)
    main.add_parser("add-fakes", help="have nodes on which nothing runs").add_argument("count", type=int)
    refuse = main.add_parser("refuse", help="have a webhook refuse every change of some resources")
    refuse.add_argument("resources", nargs="+", metavar="RESOURCE")
    for verb, act in VERBS.items():
        main.add_parser(verb, help=str(act.__doc__).splitlines()[0])


def act(name: str, options: argparse.Namespace) -> int:
    cluster = Cluster(name)
    match options.act:
        case "up":
            cluster.up(options.node)
            print(cluster.kubeconfig)
        case "status":
            print(cluster.status())
        case "load":
            for archive in options.archives:
                print(cluster.load(archive), end="")
        case "enter":
            return subprocess.run(cluster.enter(*options.command), check=False).returncode
        case "add-fakes":
            cluster.add_fakes(options.count)
        case "refuse":
            cluster.refuse(resources=options.resources)
        case verb:
            VERBS[verb](cluster)
    return 0
