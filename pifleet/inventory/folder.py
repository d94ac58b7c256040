"""Owns reading the files that an inventory names: texts, certificates, and where secrets come from.
It must not know what a file is for, and reads no secret."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pifleet.errors import Mistakes
from pifleet.inventory import schema
from pifleet.secret import SecretSource
from pifleet.wording import show

TEXT_LIMIT = 1 << 20


@dataclass(frozen=True)
class Folder:
    """The folder of the inventory, to which the files that it names are relative."""

    path: Path
    mistakes: Mistakes

    def at(self, name: str) -> Path:
        return Path(os.path.normpath(self.path / Path(name).expanduser()))

    def text(self, name: str, where: str) -> str:
        """A named file's text, or a mistake at `where`."""
        try:
            with self.at(name).open(encoding="utf-8") as file:
                text = file.read(TEXT_LIMIT + 1)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            self.mistakes.add(where, show(name), f"name a file that can be read ({reason})")
            return ""
        if len(text) > TEXT_LIMIT:
            self.mistakes.add(where, show(name), "name a file of at most 1 MiB")
        return text

    def certificates(self, name: str, where: str) -> str:
        """A named file's text where that is PEM certificates and nothing else, or a mistake at `where`."""
        text = self.text(name, where)
        if text and ("-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY" in text):
            self.mistakes.add(where, show(name), "name a file with PEM certificates, without a private key")
        return text

    def secret(self, source: schema.Source | None) -> SecretSource | None:
        if source is None:
            return None
        if source.command:
            return SecretSource("command", tuple(source.command))
        return SecretSource("file", str(self.at(source.file))) if source.file else SecretSource("env", source.env)
