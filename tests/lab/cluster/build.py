"""The programs of a cluster, built from pinned Go modules and kept between runs.

Owns the build and its cache; must not know how the programs are started.
"""

import hashlib
import os
import re
import shutil
from pathlib import Path

from tests.lab import engine
from tests.lab.engine import CACHE, CannotCarry, LabError, run

SOURCE = Path(__file__).parent / "program"
VERSION = "v1.36.3"
GO = (1, 26)
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
# A server that was not told its version calls itself v0.0.0, and clients that compare versions refuse it.
STAMPED = {"gitVersion": VERSION, "gitMajor": "1", "gitMinor": VERSION.split(".")[1], "gitTreeState": "clean"}
FLAGS = (
    *("-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags"),
    " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in STAMPED.items())]),
)


def programs() -> Path:
    """The folder with a program for each of PARTS; built where nothing of the same inputs is kept.

    The first build takes 10 CPU minutes, 2.5 GB of memory and 4 GB below Go's own caches, which may go afterwards.
    Raises CannotCarry where nothing is kept and this machine cannot build.
    """
    folder = CACHE / "cluster" / f"programs-{digest()}"
    with engine.locked(CACHE / "cluster-build.lock"):
        if not folder.exists():
            check_go()
            build(folder)
    return folder


def digest() -> str:
    """What the programs are made from, Go's version included."""
    inputs = [path.read_bytes() for path in sorted(SOURCE.iterdir())]
    return hashlib.sha256(repr([inputs, FLAGS, go_version()]).encode()).hexdigest()[:12]


def go_version() -> str:
    return run(["go", "env", "GOVERSION"]).stdout.strip() if shutil.which("go") else ""


def check_go() -> None:
    found = re.match(r"go(\d+)\.(\d+)", go_version())
    if not found or (int(found[1]), int(found[2])) < GO:
        wanted = ".".join(map(str, GO))
        raise CannotCarry(f"a cluster is built by Go {wanted} or newer; here is {go_version() or 'none'}")


def build(folder: Path) -> None:
    partial = folder.with_suffix(".part")
    shutil.rmtree(partial, ignore_errors=True)
    environment = {**os.environ, "CGO_ENABLED": "0"}
    try:
        run(["go", "build", *FLAGS, "-o", f"{partial}/kubelab", "."], cwd=SOURCE, env=environment)
    except LabError as error:
        raise CannotCarry(f"the cluster's programs could not be built: {error}") from error
    for part in PARTS:
        (partial / part).symlink_to("kubelab")
    partial.rename(folder)
