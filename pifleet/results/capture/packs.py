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
        self._parts: list[bytes] = []
        self._size = 0
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
        part = object_head(KINDS[kind], len(data)) + _deflated(data)
        self._parts.append(part)
        self._size += len(part)
        if self._size >= SECTION:
            self.flush()

    def make(self, kind: str, data: bytes) -> bytes:
        """Add an object and return its id."""
        oid = object_id(kind, data)
        self.add(kind, data, oid)
        return oid

    def flush(self) -> None:
        """Send what has gathered as one pack."""
        if not self._parts:
            return
        pack = b"".join([b"PACK" + struct.pack(">II", 2, len(self._parts)), *self._parts])
        self._parts, self._size = [], 0
        with self._one:
            self._answer.section(pack + hashlib.sha1(pack).digest(), "whole")  # noqa: S324 git's own

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
