"""Owns the verb start.
It must not know how a pattern does it."""

from __future__ import annotations

from pifleet.cli.act import all_option, each_of, finish, meant, some
from pifleet.cli.call import Call, verb
from pifleet.fleet import Sandbox
from pifleet.operate import Say
from pifleet.sandbox import Driver


@verb()
@some
@all_option
def command(call: Call, names: tuple[str, ...], everyone: bool) -> int:
    """Start stopped sandboxes."""
    boxes = meant(call, names, everyone=everyone)
    return finish(call, "start", each_of(call, boxes, _start, stage="start"))


def _start(driver: Driver, box: Sandbox, _: Say) -> bool:
    """Whether there was something to start. Raises SandboxFailed, HostFailed."""
    before = driver.state(box)
    driver.start(box)
    return before != "running"
