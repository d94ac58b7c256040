"""Owns the verb attach.
It must not know how a terminal reaches a sandbox."""

from __future__ import annotations

import click

from pifleet.cli.call import Call, verb
from pifleet.cli.terminal import become


@verb(reports=False)
@click.argument("name", metavar="DEV")
def command(call: Call, name: str) -> None:
    """Open pi in a terminal that survives disconnects.

    Leave with Ctrl-b d; pi works on, and attach comes back to it.
    """
    become(call, name, lambda driver, box: driver.attach_argv(box))
