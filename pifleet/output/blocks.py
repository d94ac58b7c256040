"""Owns how an error reads: headline, on which places, what was seen, where, and the next command to type.
It must not print; it gives rich renderables to whoever holds the console."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pifleet.errors import Mistake
from pifleet.output.text import shown
from pifleet.phrases import count, listed
from pifleet.report import Merged

INDENT = 7
SAW_LINES = 20


def error_block(merged: Merged) -> Group:
    """One error. The command under `try` is never wrapped, so that it can be copied."""
    trouble = merged.trouble
    facts = [("on", listed(merged.places))] if len(merged.places) > 1 else []
    saw = trouble.saw.splitlines()[-SAW_LINES:]
    facts += [("" if number else "saw", line) for number, line in enumerate(saw)]
    facts += [("where", trouble.where)] if trouble.where else []
    parts: list[RenderableType] = [_columns([("error", trouble.headline)], "bold red")]
    if facts:
        parts.append(_indented(_columns(facts, "dim")))
    if trouble.try_:
        parts.append(Text.assemble(" " * INDENT, ("try    ", "bold"), shown(trouble.try_),
                                   no_wrap=True, overflow="ignore"))
    return Group(*parts)


def mistakes_block(mistakes: tuple[Mistake, ...]) -> Group:
    """Every mistake with its path, what was seen and what would be right, and their number."""
    parts: list[RenderableType] = []
    for mistake in mistakes:
        parts.append(Text(" " * INDENT + shown(mistake.path), style="bold", no_wrap=True, overflow="ignore"))
        parts.append(_indented(_columns([("  saw", mistake.seen), ("  wanted", mistake.wanted)], "dim")))
    parts.append(Text(" " * INDENT + f"{count(len(mistakes), 'mistake')}; nothing was touched"))
    return Group(*parts)


def _columns(rows: Iterable[tuple[str, str]], style: str) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=5)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name, style=style), Text(shown(text)))
    return grid


def _indented(renderable: RenderableType) -> Padding:
    return Padding(renderable, (0, 0, 0, INDENT), expand=False)
