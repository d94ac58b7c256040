"""Owns the verb shell.
It must not know how a terminal reaches a sandbox."""

from __future__ import annotations

import click

from pifleet.cli.call import Call, verb
from pifleet.cli.terminal import become


@verb(reports=False)
@click.argument("name", metavar="DEV")
def command(call: Call, name: str) -> None:
    """Open a shell in a sandbox."""
    become(call, name, lambda driver, box: driver.terminal_argv(box, ["bash", "-l"]))
