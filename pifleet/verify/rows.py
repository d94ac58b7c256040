"""Owns the rows of a proof: a sandbox's checks, each with the command that would mend it, and lists in few words.
It must not know what is checked."""

from __future__ import annotations

from pifleet.fleet import Sandbox
from pifleet.report import Check

SHOWN = 5


class Rows:
    """Makes the checks of one sandbox."""

    def __init__(self, box: Sandbox) -> None:
        self.place, self.again = box.title, f"pifleet provision --developer {box.developer}"

    def check(self, name: str, good: bool, text: str, saw: str = "") -> Check:
        if good:
            return Check(self.place, name, "pass", text, saw)
        return Check(self.place, name, "fail", text, saw, try_=self.again)

    def warn(self, name: str, text: str, saw: str = "") -> Check:
        return Check(self.place, name, "warn", text, saw)

    def note(self, name: str, text: str) -> Check:
        return Check(self.place, name, "note", text)

    def left_open(self, name: str, text: str) -> Check:
        """What a pattern does not enforce; a reviewer has to know it."""
        return self.note(f"not enforced: {name}", text)


def listed(names: object) -> str:
    """The first of a list, and how many more; "unknown" for what is none."""
    if not isinstance(names, list):
        return "unknown"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(map(str, names[:SHOWN])) or "none") + more
