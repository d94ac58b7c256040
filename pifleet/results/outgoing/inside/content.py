"""Owns reading the files of a stored unit out of the objects that came: blobs, and big files as the blocks they are in.
It must not write a file, or trust a name."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pifleet.results.capture.tool import ENV, GIT, Broken, git

LINK, GITLINK, PROGRAM = 0o120000, 0o160000, 0o100755
_CHUNK = 1 << 20


class Entry(NamedTuple):
    """A file, a link or a submodule's place; `oid` is a blob, or the tree of a big file's blocks."""

    path: bytes
    mode: int
    oid: str
    blocks: bool = False


class Content:
    """`trees` part -> id; a context manager over one git process."""

    def __init__(self, git_dir: bytes, trees: Mapping[str, str]) -> None:
        self._git_dir, self._trees = git_dir, trees
        command: list[str | bytes] = [*GIT, b"--git-dir=" + git_dir, "cat-file", "--batch"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENV, cwd=git_dir)

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *raised: object) -> None:
        self._child.kill()
        self._child.communicate()

    def entries(self, *parts: str) -> list[Entry]:
        """All of these parts, sorted so that each folder's are together. Raises Broken."""
        found = [entry for part in parts if part in self._trees for entry in self._tree(self._trees[part])]
        big = [entry for part, entry in self._big() if part in parts]
        return sorted(found + big, key=lambda entry: entry.path.split(b"/"))

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """The bytes of a file, or the target of a link; to be read to their end. Raises Broken."""
        blobs = [block.oid for block in self._tree(entry.oid)] if entry.blocks else [entry.oid]
        for oid in blobs:
            yield from self._blob(oid)

    def _tree(self, oid: str) -> Iterator[Entry]:
        for line in git(self._git_dir, "ls-tree", "-r", "-z", "--full-tree", oid).split(b"\0")[:-1]:
            facts, path = line.split(b"\t", 1)
            mode, _, found = facts.decode().split()
            yield Entry(path, int(mode, 8), found)

    def _big(self) -> Iterator[tuple[str, Entry]]:
        if "blocks" not in self._trees:
            return
        listed = git(self._git_dir, "cat-file", "blob", self._trees["blocks"] + ":list")
        for part, path, mode, _, tree in json.loads(listed):
            yield part, Entry(path.encode("latin-1"), mode, tree, blocks=True)

    def _blob(self, oid: str) -> Iterator[bytes]:
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(oid.encode() + b"\n")
        self._child.stdin.flush()
        facts = self._child.stdout.readline().split()
        if len(facts) != 3 or facts[1] != b"blob":
            raise Broken("git.connectivity", f"{oid} is not a file that came")
        left = int(facts[2])
        while left:
            data = self._child.stdout.read(min(left, _CHUNK))
            if not data:
                raise Broken("git.broken", "git ended while a file was read")
            left -= len(data)
            yield data
        self._child.stdout.read(1)


def borrow(git_dir: bytes, lender: bytes) -> None:
    """Let a repository read the objects of another one."""
    quoted = b"".join(b"\\%03o" % byte if byte < 33 or byte > 126 or byte in b'"\\' else bytes([byte])
                      for byte in os.path.join(lender, b"objects"))
    with open(os.path.join(git_dir, b"objects/info/alternates"), "wb") as file:
        file.write(b'"' + quoted + b'"\n')
