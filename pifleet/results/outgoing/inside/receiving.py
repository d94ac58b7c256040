"""Owns taking apart what home sends: records and packs, none of which is used before its digest was right.
It must not know what they are for.

Frames are those of capture/framing.py: J a record, D bytes of a pack. After each record or pack comes an E frame: the
sha256, in hexadecimal, of all frames so far, so that a cut or a changed byte is seen before anything comes of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import struct
import subprocess
import tempfile
from typing import IO, Any

from pifleet.results.capture.tool import ENV, GIT, Broken

_LARGEST = 64 << 20


class Cut(Exception):
    """What home sends broke off, stopped for too long, or is not what was sent."""


class Incoming:
    """`patience` is how many seconds one frame may take."""

    def __init__(self, source: IO[bytes], patience: int) -> None:
        self._source, self._patience, self._digest = source, patience, hashlib.sha256()
        signal.signal(signal.SIGALRM, _too_late)

    def record(self) -> dict[str, Any]:
        """The next record. Raises Cut."""
        kind, payload = self._frame()
        if kind != b"J":
            raise Cut("a record should come here")
        _sealed(self._frame()[0])
        told: dict[str, Any] = json.loads(payload)
        return told

    def pack(self, git_dir: bytes) -> None:
        """Read the next pack into a repository. Raises Cut, and Broken when git does not take it."""
        command: list[str | bytes] = [*GIT, b"--git-dir=" + git_dir, "index-pack", "--stdin"]
        with tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, env=ENV,
                                     cwd=git_dir)
            try:
                self._feed(child)
            except BaseException:
                child.kill()
                _closed(child.stdin)
                raise
            finally:
                child.wait()
            if child.returncode:
                errors.seek(0)
                raise Broken("git.broken", f"git index-pack: {errors.read(1000).decode('utf-8', 'replace').strip()}")

    def _feed(self, child: subprocess.Popen[bytes]) -> None:
        """All of a pack is read even where git ended, so that what follows is understood."""
        assert child.stdin
        kind, payload = self._frame()
        while kind == b"D":
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(payload)
            kind, payload = self._frame()
        _sealed(kind)
        _closed(child.stdin)

    def _frame(self) -> tuple[bytes, bytes]:
        before = self._digest.hexdigest()
        signal.alarm(self._patience)
        try:
            head = self._exactly(5)
            size = struct.unpack(">I", head[1:])[0]
            if size > _LARGEST:
                raise Cut("a frame is too large")
            payload = self._exactly(size)
        finally:
            signal.alarm(0)
        self._digest.update(head + payload)
        if head[:1] == b"E" and payload != before.encode():
            raise Cut("a digest differs")
        return head[:1], payload

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) < size:
            raise Cut("the connection ended")
        return data


def _sealed(kind: bytes) -> None:
    if kind != b"E":
        raise Cut("a digest should come here")


def _closed(pipe: IO[bytes] | None) -> None:
    with contextlib.suppress(BrokenPipeError):
        assert pipe
        pipe.close()


def _too_late(*_: object) -> None:
    raise Cut("nothing came for too long")
