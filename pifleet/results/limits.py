"""Owns how much a sandbox may send, and the one way in which its answer is turned down.
It must not know what is being measured."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from pifleet.results.capture.framing import CHUNK, SECTION

FULL = (errno.ENOSPC, errno.EDQUOT)  # by which a disk says that there is no room


class Refusal(Exception):
    """The answer, or an entry of it, is turned down; `code` is a word of the receipt such as "proto.cut"."""

    def __init__(self, code: str, text: str, where: str = "") -> None:
        super().__init__(text)
        self.code, self.where = code, where

    @property
    def hostile(self) -> bool:
        """False for what a broken connection, a missing tool, a full disk or a damaged store also explains."""
        return not self.code.startswith(("proto.cut", "proto.exit", "timeout.", "capture.", "io.", "store."))


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds; measured to let honest work through and to stop the known bombs."""

    frame: int = max(CHUNK, 4 << 20)
    section: int = SECTION + (8 << 20)  # one object may come on top
    record: int = 64 << 10
    records: int = 20_000
    words: int = 32 << 20  # all records together
    units: int = 200
    path: int = 4096
    component: int = 255
    depth: int = 128
    files: int = 500_000
    file: int = 8 << 30
    unpacked: int = 32 << 30
    ratio: int = 200  # of new file bytes to bytes received, beyond `ratio_from`
    ratio_from: int = 1 << 30
    wire: int = 16 << 30
    pack: int = 4 << 30
    refs: int = 2000
    memory: int = 1_500_000_000  # address space of each git that reads what arrived
    cpu: int = 600
    idle: float = 60.0
    total: float = 3600.0
    ignored_files: int = 5000  # ignored files come along up to here, per repository
    ignored_bytes: int = 64 << 20
