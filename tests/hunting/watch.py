"""Owns watching the process list while something runs, so that what shows for a moment only is seen."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.hunting.files import Hit
from tests.hunting.processes import name_of


class Watch:
    """Looks at the process list again and again while the `with` block runs; `hits` afterwards holds all it saw.

    `looks` counts the passes and `seen` the programs looked into, so that a test can tell a clean run from one that
    nobody watched.
    """

    def __init__(self, poison: Sequence[str]) -> None:
        self.hits: set[Hit] = set()
        self.looks = self.seen = 0
        self._poison = [word.encode() for word in poison]
        self._known: dict[str, bytes] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.is_set():
            for name in filter(str.isdigit, os.listdir("/proc")):
                if name != str(os.getpid()):
                    self._look(name)
            self.looks += 1
            self._over.wait(0.05)

    def _look(self, name: str) -> None:
        """Look into a process that is new, or has become another program; the rest were looked into before."""
        try:
            arguments = Path("/proc", name, "cmdline").read_bytes()
            if self._known.get(name) == arguments:
                return
            self._known[name] = arguments
            content = {"cmdline": arguments, "environ": Path("/proc", name, "environ").read_bytes()}
        except OSError:
            return
        self.seen += 1
        for what, text in content.items():
            self.hits |= {(w.decode(), f"{what} of {name_of(Path('/proc', name))}") for w in self._poison if w in text}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
