"""Owns what leaves the sandbox as packs: objects made here, in packs of one section each, and whole packs made by git.
It must not know what an object means, and sends none that home holds already.

Objects are named by their 20 byte ids; the form is git's (gitformat-pack).
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
import zlib
from collections.abc import Callable
from io import BufferedReader
from typing import IO

from pifleet.results.capture.framing import CHUNK, SECTION, Answer

KINDS = {"commit": 1, "tree": 2, "blob": 3}
FILE = 1 << 20  # bytes; a longer file is never in a pack of files
_FEW = 1 << 20  # bytes of a pack; so few files go with the rest
_SAMPLE = 4096


def object_id(kind: str, data: bytes) -> bytes:
    """Git's id of an object of this kind and content."""
    digest = hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)))  # noqa: S324 git's own
    digest.update(data)
    return digest.digest()


class Sender:
    """Asks home once what it has, before the first byte of data; then takes objects in the order they depend on."""

    def __init__(self, answer: Answer, replies: IO[bytes], *, known: bool) -> None:
        self.asked = False
        self.have: list[str] = []  # commits and tags that home holds with all that they reach
        self.held: set[bytes] = set()  # objects that an earlier, broken answer brought
        self._answer, self._replies, self._known = answer, replies, known
        self._files, self._rest = _Gathered(), _Gathered()
        self._sent: set[bytes] = set()
        self._one = threading.Lock()  # packs go one after the other

    def ask(self) -> None:
        if self.asked:
            return
        self.asked = True
        self._answer.record(kind="ask", known=self._known)
        line = self._replies.readline()
        if not line:
            raise BrokenPipeError
        reply = json.loads(line)
        self.have = list(reply["have"])
        held = base64.b64decode(reply["held"])
        self.held = {held[at : at + 20] for at in range(0, len(held), 20)}

    def add(self, kind: str, data: bytes, oid: bytes) -> None:
        if oid in self._sent:
            return
        self.ask()
        self._sent.add(oid)
        if oid in self.held:
            return
        gathered = self._files if kind == "blob" and len(data) <= FILE else self._rest
        gathered.add(object_head(KINDS[kind], len(data)) + _deflated(data))
        if gathered.size >= SECTION:
            self.flush()

    def make(self, kind: str, data: bytes) -> bytes:
        """Add an object and return its id."""
        oid = object_id(kind, data)
        self.add(kind, data, oid)
        return oid

    def flush(self) -> None:
        """Send what has gathered: the files first, since nothing may come before what it names.

        Home takes a pack of files in by itself, which costs it much less than a git.
        """
        if self._files.size < _FEW:
            self._rest.parts[:0] = self._files.parts
            self._files = _Gathered()
        for gathered, pack in ((self._files, "files"), (self._rest, "whole")):
            if gathered.parts:
                with self._one:
                    self._answer.section(gathered.pack(), pack)
        self._files, self._rest = _Gathered(), _Gathered()

    def pipe(self, pack: BufferedReader, whole: Callable[[], bool]) -> None:
        """Send a pack while a program writes it, from whichever thread; one that is not `whole` in the end is thrown
        away at home. It must not build upon an object that was added here."""
        with self._one:
            section = self._answer.open()
            while data := pack.read1(min(CHUNK, SECTION - section.size) or CHUNK):
                if section.size == SECTION:
                    section.end("more")
                    section = self._answer.open()
                section.write(data)
            good = whole()
            if section.size:
                section.end("whole" if good else "broken")


class _Gathered:
    """Objects that are to become one pack; `size` counts bytes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)

    def pack(self) -> bytes:
        pack = b"".join([b"PACK" + struct.pack(">II", 2, len(self.parts)), *self.parts])
        return pack + hashlib.sha1(pack).digest()  # noqa: S324 git's own


def object_head(kind: int, size: int) -> bytes:
    """How an object of this kind (of KINDS) and size in bytes begins in a pack."""
    byte, size, out = kind << 4 | size & 15, size >> 4, bytearray()
    while size:
        out.append(byte | 128)
        byte, size = size & 127, size >> 7
    out.append(byte)
    return bytes(out)


def _deflated(data: bytes) -> bytes:
    """Deflated, or only wrapped where a sample says that it does not get smaller: that is 20 times faster."""
    if len(data) > 2 * _SAMPLE and len(zlib.compress(data[:_SAMPLE], 1)) > 0.95 * _SAMPLE:
        return zlib.compress(data, 0)
    return zlib.compress(data, 1)
