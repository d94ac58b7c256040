"""Owns reading many blobs of a store in an order that is known before: git is asked for hundreds at a time, since to
ask for each by itself costs more than the blob. It must not write anywhere but where it is told to."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterable
from io import BufferedReader
from itertools import islice
from typing import cast

from pifleet.results.limits import Refusal
from pifleet.results.store.homegit import HomeGit

_BATCH = 500  # questions at once: those of two batches do not fill a pipe
_CHUNK = 1 << 20


class Row:
    """Blobs by their ids; a context manager over one git process, which reads on while what it read is written."""

    def __init__(self, git: HomeGit, oids: Iterable[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by __exit__()
        self._child = git.start("cat-file", "--batch-command", "--buffer", errors=self._errors)
        self._out = cast(BufferedReader, self._child.stdout)
        self._more, self._asked = iter(oids), deque[str]()
        self._ask()
        self._ask()

    def __enter__(self) -> Row:
        return self

    def __exit__(self, *raised: object) -> None:
        self._child.kill()
        self._child.communicate()
        self._errors.close()

    def copy(self, oid: str, descriptor: int) -> bool:
        """Whether it was one of the next ones, whose bytes are then written there; those before it are left out.

        Raises Refusal: git.connectivity, store.damaged, git.limit.
        """
        if oid not in self._asked:
            return False
        while self._asked[0] != oid:
            self._take(None)
        self._take(descriptor)
        return True

    def _ask(self) -> None:
        if batch := list(islice(self._more, _BATCH)):
            assert self._child.stdin
            try:
                self._child.stdin.write("".join(f"contents {oid}\n" for oid in batch).encode() + b"flush\n")
                self._child.stdin.flush()
            except BrokenPipeError:
                raise Refusal("git.limit", "git ended before an object was read") from None
            self._asked.extend(batch)

    def _take(self, descriptor: int | None) -> None:
        """The next answer: its bytes go to the descriptor, if there is one."""
        oid = self._asked.popleft()
        facts = self._out.readline().split()
        if len(facts) != 3 or facts[:2] != [oid.encode(), b"blob"]:
            raise Refusal("git.connectivity", f"{oid} is not a blob that is here")
        left = int(facts[2])
        while left:
            chunk = self._out.read(min(left, _CHUNK))
            if not chunk:
                raise Refusal("git.limit", "git ended while an object was read")
            left -= len(chunk)
            view = memoryview(chunk)
            while view and descriptor is not None:
                view = view[os.write(descriptor, view):]
        if self._out.read(1) != b"\n":
            raise Refusal("store.damaged", f"{oid} is not as long as it says")
        if len(self._asked) == _BATCH:
            self._ask()
