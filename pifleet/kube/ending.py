"""Owns what is known of a program in a pod: its minder's words, or what the status channel of an exec says without any.
It is pure, and takes no silence for success."""

from __future__ import annotations

import json
import secrets
from typing import NamedTuple

BROKEN = 255
_LINE = 64


class End(NamedTuple):
    """What the minder said at the end: the exit code, and how many bytes of output there were."""

    code: int
    output: int


class Words:
    """Takes the minder's words out of standard error, where each stands behind a mark of this exec alone.

    `taken` is how many bytes of its input the program has taken, by and by; `end` how it ended, once it has.
    """

    def __init__(self) -> None:
        self.mark = f"\0{secrets.token_hex(16)} ".encode()
        self.taken = 0
        self.end: End | None = None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What of standard error is the program's own. Raises ConnectionError for a word of a wrong shape."""
        own, *marked = (self._held + data).split(self.mark)
        self._held = b""
        for number, part in enumerate(marked, 1):
            word, whole, after = part.partition(b"\n")
            if whole or number < len(marked) or len(word) > _LINE:
                self._hear(word)
                own += after
            else:
                self._held = self.mark + part
        if not self._held:
            cut = len(own) - _begun(own, self.mark)
            own, self._held = own[:cut], own[cut:]
        return own

    def _hear(self, word: bytes) -> None:
        try:
            if word.startswith(b"+"):
                self.taken += int(word[:_LINE])
            else:
                code, output = map(int, word[:_LINE].split())
                self.end = End(code, output)
        except ValueError:
            raise ConnectionResetError("the minder's word has a wrong shape") from None


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
