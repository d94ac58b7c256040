"""Owns the verb start.
It must not know how a pattern does it."""

from __future__ import annotations

from pifleet.cli.act import all_option, each_of, finish, meant, some
from pifleet.cli.call import Call, verb


@verb()
@some
@all_option
def command(call: Call, names: tuple[str, ...], everyone: bool) -> int:
    """Start stopped sandboxes."""
    boxes = meant(call, names, everyone=everyone)
    return finish(call, "start", each_of(call, boxes, lambda driver, box, _: driver.start(box), stage="start"))
