"""Owns the verb kubeconfig.
It must not know what a developer may do with it."""

from __future__ import annotations

import os
from datetime import UTC
from pathlib import Path

import click

from pifleet.cli.act import located
from pifleet.cli.call import Call, verb
from pifleet.errors import BadInput
from pifleet.kube.access import grant, revoke
from pifleet.kube.client import Api


@verb(reports=False)
@click.argument("name", metavar="DEV")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--hours", type=click.FloatRange(min=600 / 3600), default=8.0, show_default=True,
              help="How long its token holds; the cluster may give less.")
@click.option("--revoke", "ends", is_flag=True, help="End all that were written before, and write none.")
def command(call: Call, name: str, file: Path | None, hours: float, ends: bool) -> int:
    """Write a developer's own kubeconfig for the cluster that their sandbox is on.

    It reaches their own sandboxes and nothing else, and its token is short-lived: the same command again renews it.
    FILE is DEV.kubeconfig unless named. With it as pifleet_kubeconfig their verbs are those of every pattern.
    """
    box, host = located(call, name)
    if not host.cluster:
        raise BadInput(f"{box.title} is on {host.name}, which is no cluster")
    with Api(host) as api:
        if ends:
            revoke(api, box.developer)
            call.output.say(f"{host.name}: no kubeconfig of {box.developer} that was written before is good any more")
            return 0
        access = grant(api, box.developer, round(hours * 3600))
    file = file or Path(f"{box.developer}.kubeconfig")
    _write(file, access.text.reveal())
    until = access.until.astimezone(UTC)
    call.output.say(f"{file}: {box.developer} on {host.name}, until {until:%Y-%m-%d %H:%M} UTC")
    return 0


def _write(file: Path, text: str) -> None:
    """Nobody else may read it at any time, whatever was there before."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(text)
    new.replace(file)
