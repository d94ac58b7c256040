"""Owns progress: events of running work, as live lines on a terminal or as plain lines elsewhere.
It must not know results, documents or verbs; everything here goes to one console, standard error's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pifleet.events import Event
from pifleet.output.text import mark, shown, symbol_for
from pifleet.phrases import seconds

PLAIN_EVERY = 10.0
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@dataclass
class _Line:
    """One thing being worked on; `said` is when it was last written as a plain line (monotonic seconds)."""

    started: float
    text: str
    said: float = 0.0


class Progress:
    """An Emit that keeps one line for each host or sandbox at work; safe to call from several threads."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._lines: dict[tuple[str, str, str], _Line] = {}
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.clear()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if event.state in ("note", "detail"):
                if self._verbose or event.state == "note":
                    self._say(event, 0.0)
                return
            key = (event.stage, event.host, event.sandbox)
            line = self._lines.setdefault(key, _Line(time.monotonic(), event.text))
            line.text = event.text
            if event.state == "working":
                self._working(event, line)
            else:
                del self._lines[key]
                self._closed(event, line)

    def _working(self, event: Event, line: _Line) -> None:
        """A plain line when work opens, then at most every PLAIN_EVERY seconds, so that a log stays readable."""
        now = time.monotonic()
        if now - line.said >= PLAIN_EVERY:
            line.said = now
            self._say(event, now - line.started)

    def _closed(self, event: Event, line: _Line) -> None:
        self._say(event, time.monotonic() - line.started)

    def _say(self, event: Event, elapsed: float) -> None:
        state = mark(event.state)
        words = ["..." if event.state == "working" else symbol_for(self._console.encoding, state.symbol)]
        words += [shown(word) for word in (event.stage, event.sandbox or event.host) if word]
        words += [state.word] if event.state not in ("working", "note", "detail") else []
        words += [shown(event.text)] if event.text else []
        words += [seconds(elapsed)] if elapsed >= 1 else []
        self._console.print(Text("  ".join(words)), soft_wrap=True)


class LiveProgress(Progress):
    """Progress on a terminal: lines that tick and then go away, since the result tells what became of them."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__(console, verbose=verbose)
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=4, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        super().__exit__(kind, error, trace)

    def _working(self, event: Event, line: _Line) -> None:
        """Nothing to write: the live lines are drawn by the clock."""

    def _closed(self, event: Event, line: _Line) -> None:
        if event.state in ("failed", "unreachable"):
            self._say(event, time.monotonic() - line.started)

    def _render(self) -> Group:
        now = time.monotonic()
        frame = symbol_for(self._console.encoding, FRAMES[int(now * 8) % len(FRAMES)])
        room = max(3, self._console.height - 3)
        lines = list(self._lines.items())
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        for _ in range(3):
            grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
        grid.add_column(no_wrap=True, justify="right")
        for (stage, host, sandbox), line in lines[:room]:
            cells = (frame, shown(stage), shown(sandbox or host), shown(line.text), seconds(now - line.started))
            grid.add_row(*(Text(cell) for cell in cells))
        more = [Text(f"   {len(lines) - room} more at work", style="dim")] if len(lines) > room else []
        return Group(grid, *more)
