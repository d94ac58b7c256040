"""Owns questions to the person at the terminal: a yes, or a name typed out.
It must not know what is at stake; without a terminal every question is answered no."""

from __future__ import annotations

import sys

import click

from pifleet.errors import Refused
from pifleet.output import shown


def confirm(question: str, *, yes: bool, typed: str = "yes") -> None:
    """Return when `yes` was given or `typed` was typed. Raises Refused otherwise; nothing was touched then."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question}: no terminal to confirm on; nothing was touched", try_="the same command with --yes")
    click.echo(shown(question), err=True)
    if click.prompt(f"Type {typed!r} to go on", default="", show_default=False, err=True) != typed:
        raise Refused(f"{question}: not confirmed; nothing was touched")
