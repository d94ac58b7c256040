"""Owns programs that write one pack while other things are done: git, and a Python that packs what git has not packed.
It must not know which objects are wanted, or why."""

from __future__ import annotations

import marshal
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from io import BufferedReader
from typing import cast

from pifleet.results.capture.framing import SECTION
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.tool import ENV

_ID = re.compile(rb"[0-9a-f]{40}")
_CALL = """\
import marshal, sys, types
types.FunctionType(marshal.loads(sys.stdin.buffer.read(int(sys.argv[1]))), globals())()"""


class Packing:
    """One program at work; `request` is its input."""

    def __init__(self, command: Sequence[str | bytes], request: bytes, env: Mapping[str, str]) -> None:
        self.said = ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by send()
        with tempfile.TemporaryFile() as file:
            file.write(request)
            file.seek(0)
            self._program = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=self._errors, env=env)

    def send(self, sender: Sender) -> bool:
        """Whether the pack is whole; if it is not, home throws it away, and `said` tells what the program said."""
        with self._errors, self._program as program:
            sender.pipe(cast(BufferedReader, program.stdout), lambda: program.wait() == 0)
            self._errors.seek(0)
            lines = self._errors.read(1 << 20).decode("utf-8", "replace").splitlines()
            self.said = " ".join([line for line in lines if line.startswith(("fatal:", "error:"))])[:300]
            return program.returncode == 0

    def kill(self) -> None:
        self._program.kill()


def lie_loose(objects: bytes, listed: bytes) -> bool:
    """Whether all of these, lines of ids, lie in files of their own, and are little in sum."""
    ids = (oid[0] for oid in _ID.finditer(listed))
    try:
        return sum(os.stat(b"%s/%s/%s" % (objects, oid[:2], oid[2:])).st_size for oid in ids) <= SECTION
    except OSError:
        return False


def loose_packing(objects: bytes, listed: bytes) -> Packing:
    """Packs objects of a folder that lie in files of their own; fails where one is gone, damaged or large."""
    code = marshal.dumps(_pack_loose.__code__)
    command = [sys.executable, "-I", "-S", "-c", _CALL, str(len(code))]
    return Packing(command, code + listed + b"\n" + objects, ENV)


def _pack_loose() -> None:
    """Runs in a Python of its own, so it stands for itself: this one is busy reading files."""
    import hashlib
    import struct
    import sys
    import zlib

    kinds, most = {b"commit": 1, b"tree": 2, b"blob": 3, b"tag": 4}, 64 << 20
    listed, _, folder = sys.stdin.buffer.read().partition(b"\n\n")
    oids, digest, out = listed.split(b"\n"), hashlib.sha1(), sys.stdout.buffer  # noqa: S324 git's own

    def put(data: bytes) -> None:
        digest.update(data)
        out.write(data)

    put(b"PACK" + struct.pack(">II", 2, len(oids)))
    for oid in oids:
        with open(b"%s/%s/%s" % (folder, oid[:2], oid[2:]), "rb", 0) as file:
            inflating = zlib.decompressobj()
            whole = inflating.decompress(file.read(), most)
        if not inflating.eof or hashlib.sha1(whole).hexdigest().encode() != oid:  # noqa: S324 git's own
            sys.exit(1)
        head, _, content = whole.partition(b"\0")
        size = len(content)
        byte, size = kinds[head.split(b" ")[0]] << 4 | size & 15, size >> 4
        while size:
            put(bytes((byte | 128,)))
            byte, size = size & 127, size >> 7
        put(bytes((byte,)) + zlib.compress(content, 1))
    out.write(digest.digest())
    out.flush()
