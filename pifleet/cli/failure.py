"""Owns turning whatever ended a verb into words and an exit code.
It must not know verbs; what it does not recognise is a bug of pifleet and is shown as one."""

from __future__ import annotations

import sys
import traceback

import click

from pifleet.errors import BadInput, PifleetError
from pifleet.output import Output
from pifleet.report import exit_code_of


def show(error: Exception, *, as_json: bool) -> int:
    """Print `error` for people on standard error and, with `as_json`, as the document; returns the exit code."""
    output = Output(json=as_json)
    known = error if isinstance(error, PifleetError) else _as_pifleet(error)
    if known is None:
        traceback.print_exception(error, file=sys.stderr)
        known = PifleetError(
            "pifleet itself failed; this is a bug", saw=f"{type(error).__name__}: {error}",
            try_="report the lines above",
        )
    output.failure(known)
    return exit_code_of(known)


def _as_pifleet(error: Exception) -> PifleetError | None:
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "pifleet"
        return BadInput(error.format_message(), try_=f"{command} --help")
    if isinstance(error, click.ClickException):
        return BadInput(error.format_message())
    return None
