"""Owns the verb exec.
It must not touch what goes in or comes out."""

from __future__ import annotations

import click

from pifleet.cli.call import Call, verb

UNREACHABLE = 255


@verb(reports=False)
@click.argument("name", metavar="DEV")
@click.argument("words", metavar="-- COMMAND...", nargs=-1, required=True)
def command(call: Call, name: str, words: tuple[str, ...]) -> int:
    """Run one command in a sandbox; its exit code is this one's.

    255 when the sandbox cannot be reached. Standard input is passed on.
    """
    from pifleet.cli.terminal import run_inside
    from pifleet.errors import HostFailed, SandboxFailed

    try:
        return run_inside(call, name, words)
    except (HostFailed, SandboxFailed) as error:
        call.output.error(error)
        return UNREACHABLE
