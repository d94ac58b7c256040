"""Owns the verb stop.
It must not know how a pattern does it."""

from __future__ import annotations

from pifleet.cli.act import all_option, each_of, finish, meant, some
from pifleet.cli.call import Call, verb


@verb()
@some
@all_option
def command(call: Call, names: tuple[str, ...], everyone: bool) -> int:
    """Stop sandboxes; their work stays."""
    boxes = meant(call, names, everyone=everyone)
    return finish(call, "stop", each_of(call, boxes, lambda driver, box, _: driver.stop(box), stage="stop"))
