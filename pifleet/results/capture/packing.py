"""Owns programs that write one pack while other things are done: git, and a Python that packs what git has not packed.
It must not know which objects are wanted, or why."""

from __future__ import annotations

import contextlib
import marshal
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from io import BufferedReader
from typing import cast

from pifleet.results.capture.framing import SECTION
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.tool import ENV

_CALL = """\
import marshal, sys, types
types.FunctionType(marshal.loads(sys.stdin.buffer.read(int(sys.argv[1]))), globals())()"""


class Program:
    """One program at work; what its errors said is in `said` when it has ended."""

    def __init__(self, command: Sequence[str | bytes], env: Mapping[str, str]) -> None:
        self.said = ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by good()
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                                       env=env)

    def feed(self, data: bytes | bytearray) -> None:
        """Give it input; one that has ended already says why by its exit code."""
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(data)

    def output(self) -> BufferedReader:
        """End its input; to be read to the end."""
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        return cast(BufferedReader, self._child.stdout)

    def good(self) -> bool:
        """Whether it ended well; to be asked once."""
        with self._errors, cast(BufferedReader, self._child.stdout):
            self._child.wait()
            self._errors.seek(0)
            lines = self._errors.read(1 << 20).decode("utf-8", "replace").splitlines()
            self.said = " ".join([line for line in lines if line.startswith(("fatal:", "error:"))])[:300]
        return self._child.returncode == 0

    def kill(self) -> None:
        self._child.kill()


def send(packing: Program, sender: Sender) -> bool:
    """Whether the pack that a program writes is whole; if it is not, home throws it away."""
    whole: list[bool] = []

    def good() -> bool:
        whole.append(packing.good())
        return whole[0]

    sender.pipe(packing.output(), good)
    return whole[0]


def lies_loose(objects: bytes, oid: bytes) -> bool:
    """Whether this object has a file of its own."""
    return os.path.exists(b"%s/%s/%s" % (objects, oid[:2], oid[2:]))


def loose_packing(objects: bytes) -> Program:
    """Packs the objects of a folder that lie in files of their own; it is fed their ids, a line each.

    It begins when it has all. It fails where one is gone, damaged or large, and where all are more than one section.
    """
    code = marshal.dumps(_pack_loose.__code__)
    packing = Program([sys.executable, "-I", "-S", "-c", _CALL, str(len(code)), str(SECTION)], ENV)
    packing.feed(code + objects.hex().encode() + b"\n")
    return packing


def _pack_loose() -> None:
    """Runs in a Python of its own, so it stands for itself: this one is busy reading files."""
    import hashlib
    import io
    import os
    import struct
    import sys
    import zlib

    kinds, most = {b"commit": 1, b"tree": 2, b"blob": 3, b"tag": 4}, 64 << 20
    folder, *oids = sys.stdin.buffer.read().split()
    paths = [b"%s/%s/%s" % (bytes.fromhex(folder.decode()), oid[:2], oid[2:]) for oid in oids]
    digest = hashlib.sha1()  # noqa: S324 git's own
    out = io.BufferedWriter(io.FileIO(1, "w"), 512 << 10)  # many small pieces cost both ends more than packing

    def put(data: bytes) -> None:
        digest.update(data)
        out.write(data)

    try:
        if sum(os.stat(path).st_size for path in paths) > int(sys.argv[2]):
            sys.exit(1)
        put(b"PACK" + struct.pack(">II", 2, len(oids)))
        for oid, path in zip(oids, paths):  # noqa: B905 Python 3.9
            with open(path, "rb", 0) as file:
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
    except (OSError, zlib.error):
        sys.exit(1)
    out.write(digest.digest())
    out.flush()
