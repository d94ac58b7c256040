"""Owns the kernel's own record of every process that ends on this machine, lab hosts included, while a block runs.
It must not guess from what is running: a process that lives for a millisecond is in the record too."""

from __future__ import annotations

import ctypes
import os
from collections import Counter
from pathlib import Path

# struct acct_v3 (kernel header linux/acct.h): 64 bytes, the command's name in the last 16.
RECORD, NAME = 64, 16


class Accounting:
    """Counts ended processes by name (cut to 15 characters by the kernel); `ended` is filled when the block is left."""

    def __init__(self, record: Path) -> None:
        self.record = record
        self.ended: Counter[str] = Counter()

    def __enter__(self) -> Accounting:
        self.record.touch()
        _acct(os.fsencode(self.record))
        return self

    def __exit__(self, *_: object) -> None:
        _acct(None)
        data = self.record.read_bytes()
        names = (data[at + RECORD - NAME : at + RECORD] for at in range(0, len(data), RECORD))
        self.ended = Counter(name.split(b"\0")[0].decode(errors="replace") for name in names)


def _acct(path: bytes | None) -> None:
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.acct(path):
        raise OSError(ctypes.get_errno(), "acct")
