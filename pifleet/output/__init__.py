"""Owns everything a user reads: progress on standard error, results on standard output, as text or as one document.
It must not decide what is said; it knows no verb and nothing else in pifleet writes to a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pifleet.errors import BadInput, PifleetError
from pifleet.output.blocks import error_block, mistakes_block
from pifleet.output.progress import LiveProgress, Progress
from pifleet.output.text import Mark, mark, shown, symbol_for
from pifleet.report import Merged, error_document

__all__ = ["Mark", "Output", "Row", "mark", "shown"]

COLLAPSE_ABOVE = 20


@dataclass(frozen=True)
class Row:
    """One line of a table; `quiet` rows (nothing to report) collapse into a count in a long table."""

    cells: tuple[str | Mark, ...]
    quiet: bool = False


class Output:
    """Where one run of pifleet writes. `json` keeps standard output for exactly one document."""

    def __init__(
        self, *, json: bool = False, verbose: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self.json = json
        self.verbose = verbose
        self._stdout = stdout or sys.stdout
        self._out = _console(self._stdout)
        self._err = _console(stderr or sys.stderr)

    def progress(self) -> Progress:
        """The Emit of this run, to be used as a context manager around the work."""
        live = self._err.is_terminal and not os.environ.get("NO_COLOR")
        return (LiveProgress if live else Progress)(self._err, verbose=self.verbose)

    def document(self, value: dict[str, Any]) -> None:
        """Print the run's one JSON document, in ASCII, so that no name in it can act on a terminal."""
        if self.json:
            self._stdout.write(json.dumps(value, indent=2) + "\n")
            self._stdout.flush()

    def say(self, *cells: str | Mark) -> None:
        """One line of the result, never wrapped; nothing with `-o json`."""
        if not self.json:
            self._out.print(Text("  ").join(_text(self._out, cell) for cell in cells), soft_wrap=True)

    def talk(self, line: str) -> None:
        """One line of what a sandbox says as it says it: part of the result, and with `-o json` progress."""
        (self._err if self.json else self._out).print(Text(shown(line)), soft_wrap=True)

    def note(self, text: str) -> None:
        """One line beside the result, on standard error in every format."""
        self._err.print(Text(shown(text)), soft_wrap=True)

    def table(self, rows: Sequence[Row], heads: tuple[str, ...] = ()) -> None:
        """Rows in columns, long cells folded and never cut; nothing with `-o json`."""
        if self.json or not rows:
            return
        quiet = sum(row.quiet for row in rows)
        collapse = len(rows) > COLLAPSE_ABOVE and quiet > 1
        grid = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(max(len(row.cells) for row in rows)):
            grid.add_column(overflow="fold")
        if heads:
            grid.add_row(*(Text(head, style="bold") for head in heads))
        for row in rows:
            if not (collapse and row.quiet):
                grid.add_row(*(_text(self._out, cell) for cell in row.cells))
        self._out.print(grid)
        if collapse:
            self.say(Mark(f"{quiet} unchanged", "=", "dim"))

    def errors(self, merged: Iterable[Merged]) -> None:
        """Each error as a block on standard error."""
        for one in merged:
            self._err.print(error_block(one), crop=False)

    def failure(self, error: PifleetError) -> None:
        """An error that ended the run: the block, every mistake of bad input, and with `-o json` the document."""
        self.error(error)
        self.document(error_document(error))

    def error(self, error: PifleetError) -> None:
        """One error with all its mistakes, on standard error."""
        self.errors([Merged(error.trouble)])
        if isinstance(error, BadInput) and error.mistakes:
            self._err.print(mistakes_block(error.mistakes), crop=False)


def _console(stream: TextIO) -> Console:
    terminal = stream.isatty()
    plain = not terminal or bool(os.environ.get("NO_COLOR"))
    return Console(
        file=stream, force_terminal=terminal, color_system=None if plain else "auto",
        highlight=False, markup=False, emoji=False,
    )


def _text(console: Console, cell: str | Mark) -> Text:
    if isinstance(cell, Mark):
        return Text(f"{symbol_for(console.encoding, cell.symbol)} {shown(cell.word)}", style=cell.style)
    return Text(shown(cell))
