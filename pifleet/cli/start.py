"""Owns the verb start.
It must not know how a pattern does it."""

from __future__ import annotations

from pifleet.cli.act import all_option, some, turned
from pifleet.cli.call import Call, verb


@verb()
@some
@all_option
def command(call: Call, names: tuple[str, ...], everyone: bool) -> int:
    """Start stopped sandboxes."""
    return turned(call, "start", "running", lambda driver, box: driver.start(box), names, everyone=everyone)
