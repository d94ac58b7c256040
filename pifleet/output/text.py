"""Owns how single values read: names made safe for a terminal, and the symbol and word of each state.
It must not know tables, terminals or what a value is for."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

# Controls, format characters (bidi, zero width), surrogates, private use, unassigned, and the two line separators.
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def shown(text: str) -> str:
    r"""`text` on one line with every character that could move, hide or colour other text written as `\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _UNSAFE else char for char in text
    )


@dataclass(frozen=True)
class Mark:
    """A state as symbol, word and colour; the word alone says everything."""

    word: str
    symbol: str = " "
    style: str = ""


_STYLES = {
    "✓": ("green", ("ok", "ready", "running", "pass", "complete", "new", "allowed")),
    "+": ("green", ("create", "created")),
    "~": ("yellow", ("change", "changed", "replace", "starting", "partial", "warn", "drift")),
    "-": ("red", ("remove", "removed", "stop", "stopped", "missing")),
    "✗": ("red", ("failed", "fail", "error", "refused")),
    "!": ("red", ("unreachable", "unknown")),
    "»": ("dim", ("skipped", "skip")),
    "=": ("dim", ("unchanged", "note")),
}
_MARKS = {word: Mark(word, symbol, style) for symbol, (style, words) in _STYLES.items() for word in words}
_ASCII = {"✓": "+", "✗": "x", "»": ">"}


def mark(word: str) -> Mark:
    """The mark of a state; a word without one gets no symbol."""
    return _MARKS.get(word, Mark(word))


def symbol_for(encoding: str, symbol: str) -> str:
    """`symbol`, or its ASCII stand-in where the stream's encoding cannot carry it."""
    try:
        symbol.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return _ASCII.get(symbol, " ")
    return symbol
