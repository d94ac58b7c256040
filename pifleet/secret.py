"""Owns values that must never be shown: the wrapper that prints a mask, and where its value comes from.
It must not decide where a secret is sent; whoever calls `reveal()` answers for that."""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pifleet.errors import PifleetError

MASK = "********"
COMMAND_SECONDS = 30


class SecretUnavailable(PifleetError):
    """A secret's source gave no value."""


class Secret:
    """A value that prints, formats, compares by repr and pickles as a mask; `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def keyed_hash(self, nonce: str, template: str = "{}") -> str:
        """Hex HMAC-SHA256 of `template` with the value put in, so that a host can compare without being told."""
        return hmac.new(nonce.encode(), template.replace("{}", self._value).encode(), hashlib.sha256).hexdigest()

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(("pifleet.Secret", self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is never serialised")


@dataclass(frozen=True)
class SecretSource:
    """Where a secret is kept, as the inventory says: `env` (a variable), `file` (a path) or `command` (an argv)."""

    kind: str
    value: str | tuple[str, ...]

    def describe(self) -> str:
        """The source in the inventory's own words; never the value."""
        return f"{self.kind} {self.value if isinstance(self.value, str) else ' '.join(self.value)}"

    def read(self) -> Secret:
        """The value, without a trailing line end. Raises SecretUnavailable when there is none."""
        text = {"env": self._from_env, "file": self._from_file, "command": self._from_command}[self.kind]()
        if not text.rstrip("\r\n"):
            raise SecretUnavailable(f"secret from {self.describe()} is empty", try_=self._hint())
        return Secret(text.rstrip("\r\n"))

    def _hint(self) -> str:
        return f"export {self.value}=..." if self.kind == "env" else f"check {self.describe()}"

    def _from_env(self) -> str:
        value = os.environ.get(str(self.value))
        if value is None:
            raise SecretUnavailable(f"environment variable {self.value} is not set", try_=self._hint())
        return value

    def _from_file(self) -> str:
        try:
            return Path(str(self.value)).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SecretUnavailable(f"cannot read {self.describe()}", saw=str(error), try_=self._hint()) from None

    def _from_command(self) -> str:
        argv = [self.value] if isinstance(self.value, str) else list(self.value)
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SecretUnavailable(f"{self.describe()} did not run", saw=str(error), try_=self._hint()) from None
        if done.returncode:
            raise SecretUnavailable(f"{self.describe()} exited {done.returncode}", try_=self._hint())
        return done.stdout
