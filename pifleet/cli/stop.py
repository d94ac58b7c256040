"""Owns the verb stop.
It must not know how a pattern does it."""

from __future__ import annotations

from pifleet.cli.act import all_option, some, turned
from pifleet.cli.call import Call, verb


@verb()
@some
@all_option
def command(call: Call, names: tuple[str, ...], everyone: bool) -> int:
    """Stop sandboxes; their work stays."""
    return turned(call, "stop", "stopped", lambda driver, box: driver.stop(box), names, everyone=everyone)
