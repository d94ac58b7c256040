"""Owns the verb stop.
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
    """Stop sandboxes; their work stays."""
    boxes = meant(call, names, everyone=everyone)
    return finish(call, "stop", each_of(call, boxes, _stop, stage="stop"))


def _stop(driver: Driver, box: Sandbox, _: Say) -> bool:
    """Whether there was something to stop. Raises SandboxFailed, HostFailed."""
    before = driver.state(box)
    driver.stop(box)
    return before != "stopped"
