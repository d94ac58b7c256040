"""Owns adding the refs of a generation to a store: all of them or none, however many there are, in one step.
It must not know what they mean. git itself moves refs one by one, and each as a file of its own first.

The form is that of git's packed-refs (gitrepository-layout): a line with its properties, then "ID NAME", sorted by
name. "^ID" below an annotated tag says what that leads to; git looks it up where it is left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pifleet.results.limits import Refusal
from pifleet.results.store.packs import settle

_HEAD = b"# pack-refs with: sorted \n"
_ID = 41  # characters before the name
_LINE = re.compile(rb"[0-9a-f]{40} refs/(?:[A-Za-z0-9_+@=][A-Za-z0-9._+@=-]*/)*[A-Za-z0-9_+@=][A-Za-z0-9._+@=-]*")


def add(store: Path, refs: Mapping[str, str]) -> None:
    """Full name -> id, of refs that are not there. Whoever calls holds the lock of the store, whose objects are there.

    Raises Refusal ref.name, OSError; then there is none of them.
    """
    at, lock = store / "packed-refs", store / "packed-refs.lock"
    fresh = [f"{oid} {name}".encode() for name, oid in refs.items()]
    if wrong := [line for line in fresh if not _LINE.fullmatch(line)]:
        raise Refusal("ref.name", f"not a ref: {wrong[0]!r}")
    old = [line for line in at.read_bytes().splitlines() if line[:1] not in b"#^"] if at.exists() else []
    lines = sorted(old + fresh, key=lambda line: line[_ID:])
    with lock.open("wb") as file:  # one that is there is a killed pull's
        file.write(_HEAD + b"".join([line + b"\n" for line in lines]))
        file.flush()
        os.fsync(file.fileno())
    lock.rename(at)
    settle(store)
