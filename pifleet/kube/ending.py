"""Owns how a program in a pod ended: by its minder's word, or by what the status channel of an exec says without one.
It is pure, and takes no silence for success."""

from __future__ import annotations

import json
import secrets
from typing import NamedTuple

BROKEN = 255
_LINE = 64


class Word(NamedTuple):
    """What the minder said at the end: the exit code, and how many bytes of output there were."""

    code: int
    output: int


class Ending:
    """Takes the minder's word out of standard error, where it stands behind a mark of this exec alone."""

    def __init__(self) -> None:
        self.mark = f"\0{secrets.token_hex(16)} ".encode()
        self.word: Word | None = None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What of standard error is the program's own. Raises ConnectionError for a word of a wrong shape."""
        if self.word:
            return data
        held = self._held + data
        at = held.find(self.mark)
        if at < 0:
            cut = len(held) - _begun(held, self.mark)
            self._held = held[cut:]
            return held[:cut]
        line, whole, after = held[at + len(self.mark):].partition(b"\n")
        self._held = b"" if whole else held[at:]
        if whole or len(line) > _LINE:
            try:
                code, output = map(int, line[:_LINE].split())
            except ValueError:
                raise ConnectionResetError("the minder's word has a wrong shape") from None
            self.word = Word(code, output)
        return held[:at] + after


def _begun(data: bytes, mark: bytes) -> int:
    """How many bytes at the end of `data` may be the beginning of `mark`."""
    return next((size for size in range(len(mark) - 1, 0, -1) if data.endswith(mark[:size])), 0)


def outcome(status: bytes) -> tuple[int, str] | None:
    """Exit code, and words where no program ran, of what the status channel said; None while that is not all.

    It is a Status of Kubernetes' API: "Success", or a failure with the exit code among its causes, or one without.
    """
    try:
        said = json.loads(status)
        if said["status"] == "Success":
            return 0, ""
        causes = (said.get("details") or {}).get("causes") or ()
        codes = [one.get("message") for one in causes if one.get("reason") == "ExitCode"]
        if codes:
            return int(codes[0]), ""
        words = str(said.get("message") or said.get("reason") or "no reason was given")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if "executable file not found" in words or "no such file or directory" in words:
        return 127, f"{words}\n"
    return (126 if "permission denied" in words else BROKEN), f"{words}\n"
