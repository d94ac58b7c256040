"""Owns what an inventory says of sandboxes of pattern gondolin beyond its shape: that their memory is enough.
It must not know how a machine is run."""

from __future__ import annotations

from pifleet.errors import Mistakes
from pifleet.fleet import GONDOLIN, Fleet
from pifleet.phrases import size
from pifleet.wording import path

# pi, Gondolin and QEMU themselves need three quarters of it; below that the guest has too little to start.
LEAST_MEMORY = 1 << 30


def check_memory(fleet: Fleet, mistakes: Mistakes) -> None:
    """Refuse sandboxes of which the micro-VM would have no memory to start with."""
    for box in fleet.sandboxes:
        if box.pattern == GONDOLIN and box.limits.memory < LEAST_MEMORY:
            mistakes.add(path("pifleet_developers", box.developer, "sandboxes", box.name, "memory"),
                         size(box.limits.memory), "pattern gondolin needs 1g or more, which is for pi and its micro-VM")
