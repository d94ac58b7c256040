"""Owns the terms on which both ends agree: which refs keep their names at home, for which reasons nothing is lost.
It must not read a repository."""

from __future__ import annotations

import re

WAIVED = ("waived", "empty", "ref.name")  # reasons for which nothing is lost
# What home stores by name; the commits of all other refs travel as unnamed tips.
_REF_NAME = re.compile(r"refs/(?:stash|(?:heads|tags|notes)(?:/(?![.-])[A-Za-z0-9._+@=-]+)+)")
_REF_LENGTH = 200


def storable(name: str) -> bool:
    """Whether a ref of this name lands under its own name at home."""
    last = name.rpartition("/")[2]
    return bool(_REF_NAME.fullmatch(name)) and len(name) <= _REF_LENGTH and ".." not in name and "@{" not in name \
        and last != "HEAD" and not any(part.endswith((".lock", ".")) for part in name.split("/"))
