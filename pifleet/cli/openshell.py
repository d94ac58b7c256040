"""Owns the verb openshell: the real command, as the client that pifleet has on a gateway's host.
It must not touch what goes in or comes out, and reads no meaning into it."""

from __future__ import annotations

import os
import shlex
import sys

import click

from pifleet.cli.call import Call, verb


@verb(reports=False)
@click.argument("gateway", metavar="GATEWAY")
@click.argument("words", metavar="-- ARGUMENT...", nargs=-1, required=True)
def command(call: Call, gateway: str, words: tuple[str, ...]) -> int:
    """Run the real openshell command against a fleet's gateway.

    GATEWAY is the name of its host. Exit code, streams and terminal are the command's own, its folder there is empty.
    What it changes by hand, the next provision finds.
    """
    from pifleet.cli.terminal import pump
    from pifleet.connection import connect, root_argv, ssh_argv
    from pifleet.errors import Mistakes
    from pifleet.fleet import OPENSHELL
    from pifleet.patterns.openshell.client import client_of
    from pifleet.wording import choose, show

    gateways = call.fleet.hosts_offering(OPENSHELL)
    if gateway not in gateways:
        mistakes = Mistakes()
        mistakes.add("GATEWAY", show(gateway), choose(gateway, gateways) if gateways
                     else "put a host into group pifleet_openshell")
        mistakes.raise_any("no such gateway")
    host = call.fleet.hosts[gateway]
    argv = client_of(host).command(*words)
    if host.connection.password or host.connection.become_password:
        with connect(host) as link:
            return pump(link.stream(argv))
    ssh, as_root = ssh_argv(host, tty=sys.stdin.isatty() and sys.stdout.isatty()), root_argv(argv)
    program = [*ssh, shlex.join(as_root)] if ssh else as_root
    sys.stdout.flush()
    return os.execvp(program[0], program)  # noqa: S606 - an argument list of ours, and no shell wanted
