"""Owns what we are about to write into a plain folder, noted down first, so that it counts as ours after a crash.
It must not look at the folder.

A line of JSON each: files that may be written, a path that comes to stand aside, a name that is only ever temporary.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pifleet.results.store.contents import File


class Journal:
    """What attempts that broke off noted down; empty after one that came to its end."""

    def __init__(self, at: Path) -> None:
        self._at = at
        self.files: dict[bytes, list[File]] = {}
        self.asides: dict[bytes, bytes] = {}
        self.temporary: list[bytes] = []
        for line in at.read_bytes().splitlines() if at.exists() else ():
            try:
                self._take(*json.loads(line))
            except ValueError:  # cut off in the middle: then what it announced was not begun
                continue

    def _take(self, kind: str, *told: Any) -> None:
        if kind == "files":
            for text, *facts in told:
                path = text.encode("latin-1")
                self.files.setdefault(path, []).append(File(path, *facts))
        elif kind == "aside":
            self.asides[told[0].encode("latin-1")] = told[1].encode("latin-1")
        else:
            self.temporary.append(told[0].encode("latin-1"))

    def begin(self, files: Iterable[File]) -> bytes:
        """Note down what will be written; returns a name for files on their way, which no sandbox can guess."""
        name = f".pifleet-{secrets.token_hex(8)}"
        new = (file for file in files if file not in self.files.get(file.path, ()))
        self._note(["temporary", name], ["files", *map(_told, new)])
        return name.encode()

    def aside(self, home: bytes, aside: bytes, files: Iterable[File]) -> None:
        """Note down that these files, at or below `home`, will be written at or below `aside`."""
        self._note(["aside", home.decode("latin-1"), aside.decode("latin-1")], ["files", *map(_told, files)])

    def _note(self, *lines: list[Any]) -> None:
        with self._at.open("ab") as file:
            file.write(b"\n")
            for line in lines:
                file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def end(self) -> None:
        self._at.unlink(missing_ok=True)


def _told(file: File) -> list[Any]:
    return [file.path.decode("latin-1"), file.mode, file.oid, file.size]
