"""Answers that no honest capture would give: objects, packs and frames made by hand."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import Any

from pifleet.results.capture.framing import HEAD, MAGIC, frame
from pifleet.stream import LocalStream
from tests.results.box import git

FILE, PROGRAM, LINK, FOLDER = "100644", "100755", "120000", "40000"


class Forge:
    """Makes objects in a repository of its own, and answers out of them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name)
        git(self.path, "init", "-q", "--bare")

    def close(self) -> None:
        self._folder.cleanup()

    def blob(self, data: bytes = b"evil\n") -> str:
        return git(self.path, "hash-object", "-w", "--stdin", data=data).decode()

    def tree(self, *entries: tuple[str, bytes, str]) -> str:
        """A tree with exactly these (mode, name, id), however wrong."""
        data = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries)
        return self.raw("tree", data)

    def nested(self, path: bytes, mode: str, oid: str) -> str:
        """The tree in which `path` has this mode and id."""
        for part in reversed(path.split(b"/")[1:]):
            mode, oid = FOLDER, self.tree((mode, part, oid))
        return self.tree((mode if b"/" not in path else FOLDER, path.split(b"/")[0], oid))

    def commit(self, tree: str, *parents: str) -> str:
        more = [word for parent in parents for word in ("-p", parent)]
        return git(self.path, "commit-tree", tree, *more, "-m", "forged").decode()

    def pack(self, *wanted: str) -> bytes:
        """A pack of all that these reach."""
        return self._packed(wanted, "--revs")

    def pack_of(self, *oids: str) -> bytes:
        """A pack of exactly these objects."""
        return self._packed(oids)

    def _packed(self, oids: tuple[str, ...], *options: str) -> bytes:
        command = ["git", "pack-objects", "--stdout", "-q", *options]
        asked = "\n".join([*oids, ""]).encode()
        return subprocess.run(command, cwd=self.path, input=asked, capture_output=True, check=True).stdout

    def raw(self, kind: str, data: bytes) -> str:
        """An object of any kind with any content."""
        return git(self.path, "hash-object", "-t", kind, "--literally", "-w", "--stdin", data=data).decode()

    def unit(self, tree: str, path: str = "api", kind: str = "repo", refs: dict[str, str] | None = None,
             pack: bytes | None = None, **facts: Any) -> bytes:
        """The frames of one unit whose snapshot has this tree."""
        snapshot = facts.pop("snapshot", None) or self.commit(tree)
        told = {"kind": "unit", "unit": kind, "path": path, "state": "0" * 64, "head_ref": "", "head": "",
                "snapshot": snapshot, "index": "", "ignored": "", "artifacts": "", "blocks": "", "operation": "",
                "tips": "", "stashes": [], "upstream": [], "operation_name": "", "files": 1, "bytes": 1,
                "more": 0} | facts
        named = list((refs or {}).items())
        listed = b"".join(record(kind="refs", items=named[at : at + 300]) for at in range(0, len(named), 300))
        if pack is None:
            pack = self.pack(snapshot, *(refs or {}).values())
        return sections(pack) + record(**told) + listed + record(kind="done", path=path)

    def rest(self, but: str = "") -> bytes:
        """The two trees that every answer has, empty."""
        empty = self.tree()
        return b"".join(self.unit(empty, name, "tree") for name in ("workspace", "sessions") if name != but)

    def answer(self, *units: bytes) -> bytes:
        """A whole answer of these units, the empty trees and the end mark."""
        return sealed(b"".join(units) + self.rest())


def record(**told: Any) -> bytes:
    return frame(b"J", json.dumps(told).encode())


def sections(pack: bytes) -> bytes:
    if not pack:
        return b""
    end = {"bytes": len(pack), "pack": "whole"}
    return b"".join(frame(b"D", pack[at : at + (1 << 20)]) for at in range(0, len(pack), 1 << 20)) + frame(
        b"E", json.dumps(end).encode())


def sealed(frames: bytes) -> bytes:
    digest, at = hashlib.sha256(), 0
    while at < len(frames):
        size = struct.unpack_from(">I", frames, at + 1)[0]
        digest.update(frames[at : at + HEAD] if frames[at : at + 1] == b"D" else frames[at : at + HEAD + size])
        at += HEAD + size
    return MAGIC + frames + frame(b"Z", json.dumps({"sha256": digest.hexdigest()}).encode())


def object_head(kind: int, size: int) -> bytes:
    """How an object begins in a pack; kinds are 1 commit, 2 tree, 3 blob, 7 delta against an id."""
    byte, size, out = kind << 4 | size & 15, size >> 4, b""
    while size:
        out, byte, size = out + bytes([byte | 128]), size & 127, size >> 7
    return out + bytes([byte])


def pack_by_hand(objects: list[bytes]) -> bytes:
    pack = b"PACK" + struct.pack(">II", 2, len(objects)) + b"".join(objects)
    return pack + hashlib.sha1(pack).digest()


def delta_bomb() -> bytes:
    """A pack of 16 kB that wants 4 GB of memory: one base of zeros, one delta that copies it 256 times."""
    def number(value: int) -> bytes:
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    base = b"\0" * 0xFFFFFF
    name = hashlib.sha1(b"blob %d\0" % len(base) + base).digest()
    delta = number(len(base)) + number(len(base) * 256) + (b"\xf0\xff\xff\xff") * 256
    return pack_by_hand([object_head(3, len(base)) + zlib.compress(base, 9),
                         object_head(7, len(delta)) + name + zlib.compress(delta, 9)])


def deep_tree(levels: int) -> tuple[str, bytes]:
    """(commit, pack) of folders in each other, made without git, which would die of it."""
    content, mode, kind, word, objects = b"deep\n", b"100644", 3, b"blob", []
    for _ in range(levels):
        oid = hashlib.sha1(b"%s %d\0" % (word, len(content)) + content).digest()
        objects.append(object_head(kind, len(content)) + zlib.compress(content, 1))
        content, mode, kind, word = mode + b" d\0" + oid, b"40000", 2, b"tree"
    objects.append(object_head(2, len(content)) + zlib.compress(content, 1))
    top = hashlib.sha1(b"tree %d\0" % len(content) + content).hexdigest()
    text = f"tree {top}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n".encode()
    objects.append(object_head(1, len(text)) + zlib.compress(text))
    return hashlib.sha1(b"commit %d\0" % len(text) + text).hexdigest(), pack_by_hand(objects)


def replaying(answer: bytes, folder: Path, code: int = 0) -> LocalStream:
    """A sandbox that takes what it is sent and gives this answer."""
    path = folder / "answer"
    path.write_bytes(answer)
    return LocalStream(["sh", "-c", 'read -r _; cat "$1"; exit "$2"', "sh", str(path), str(code)])
