"""A table of nftables that follows the cluster: made anew as a whole whenever what it is made from has changed.

Owns the loop, in the cluster's own network namespace; must not know what any table says.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.lab.cluster.api import API_ERRORS, Api


def follow(folder: Path, name: str, paths: tuple[str, ...], table: Callable[[Api], str]) -> None:
    """Keep the `table` of what is listed at `paths` loaded, until killed; what goes wrong is told under `name`."""
    api, before = Api(folder / "lab.kubeconfig"), ""
    for _ in api.changes(*paths):
        try:
            now = table(api)
            if now != before:
                subprocess.run(["nft", "-f", "-"], input=now, text=True, check=True)
                before = now
        except (*API_ERRORS, subprocess.CalledProcessError) as error:
            print(f"{name}:", error, file=sys.stderr, flush=True)
