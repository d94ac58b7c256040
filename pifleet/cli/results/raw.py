"""Owns bytes of a sandbox on standard output: as they are into a file or a pipe, escaped on a terminal.
It must not know what they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from pifleet.output import shown


def emit(lines: Iterable[bytes]) -> None:
    """Write these pieces, each at most one line. A reader that has had enough (`| head`) ends it quietly."""
    terminal = sys.stdout.isatty()
    out = sys.stdout.buffer
    try:
        for line in lines:
            out.write(escaped(line) if terminal else line)
        out.flush()
    except BrokenPipeError:
        # What is still buffered must go somewhere on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escaped(line: bytes) -> bytes:
    """A line in which nothing can move, hide or colour other text; tabs and the end of the line stay."""
    text = line.decode("utf-8", "backslashreplace")
    body = text.removesuffix("\n")
    return ("\t".join(shown(part) for part in body.split("\t")) + text[len(body) :]).encode()
