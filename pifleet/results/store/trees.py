"""Owns reading objects that a sandbox made, one at a time and bounded in size; whoever recurses has measured the tree.
It must not write anywhere."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from io import BufferedReader
from itertools import islice
from typing import cast

from pifleet.results.limits import Refusal
from pifleet.results.store.homegit import Facts, HomeGit

TREE_MODE, LINK_MODE, EXECUTABLE_MODE, GITLINK_MODE = 0o40000, 0o120000, 0o100755, 0o160000
_TREE_BYTES = 64 << 20
_CHUNK = 1 << 20
_ANSWER = 80  # bytes; what git answers to "info" is shorter
_BATCH = 500  # questions at once, so that neither those of two batches nor the answers fill a pipe

Leaf = tuple[bytes, int, str]  # path, mode, id


class Objects:
    """One long-running `git cat-file --batch-command`, which answers when it is told to."""

    def __init__(self, git: HomeGit) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by __exit__()
        self._child = git.start("cat-file", "--batch-command", "--buffer", errors=self._errors)
        self._out = cast(BufferedReader, self._child.stdout)
        self._oid = b""

    def __enter__(self) -> Objects:
        return self

    def __exit__(self, *raised: object) -> None:
        self._child.kill()
        self._child.communicate()
        self._errors.close()

    def _ask(self, name: str, kind: str, command: str = "contents") -> tuple[str, int]:
        """(id, size) of an object; after "contents" its bytes must be read next."""
        oid, found, size = self._head(name, command)
        if found != kind:
            if found and command == "contents":
                for _ in self._content(size):
                    pass
            raise Refusal("git.connectivity", f"{name} is not a {kind} that is here")
        return oid, size

    def _head(self, name: str, command: str) -> tuple[str, str, int]:
        """(id, kind, size); the kind is "" where there is no such object."""
        whole = command == "contents"
        self._write(f"contents {name}\ninfo {name}" if whole else f"{command} {name}")
        facts = self._out.readline().decode().split()
        if len(facts) != 3:
            if whole:
                self._out.readline()
            return "", "", 0
        self._oid = facts[0].encode()
        return facts[0], facts[1], int(facts[2])

    def _write(self, command: str) -> None:
        assert self._child.stdin
        try:
            self._child.stdin.write(f"{command}\nflush\n".encode())
            self._child.stdin.flush()
        except BrokenPipeError:
            raise Refusal("git.limit", "git ended before an object was read") from None

    def _content(self, size: int) -> Iterator[bytes]:
        """The bytes of the object whose head was read last.

        Of a damaged one git may write fewer or more than its head says. They really end where the answer to the next
        question begins: with the object's own id, which no object can hold.
        """
        end, at, seen, tail = b"\n" + self._oid + b" ", -1, 0, b""
        while at < 0:
            chunk = self._out.read1(_CHUNK)
            if not chunk:
                raise Refusal("git.limit", "git ended while an object was read")
            tail = (tail + chunk)[-_ANSWER:]
            at = tail.rfind(end) if tail.endswith(b"\n") else -1
            yield chunk[: max(0, size - seen)]
            seen += len(chunk)
        if seen - len(tail[at:]) != size:
            raise Refusal("store.damaged", f"{self._oid.decode()} is not as long as it says")

    def sizes(self, oids: Iterable[str]) -> Facts:
        """Of those of the objects that are here."""
        found: Facts = {}
        asked = iter(oids)
        before: list[str] = []  # what git works at while what it said before is read
        while (batch := list(islice(asked, _BATCH))) or before:
            if batch:
                self._write("\n".join(f"info {oid}" for oid in batch))
            for oid in before:
                facts = self._out.readline().split()
                if len(facts) == 3:
                    found[oid] = sys.intern(facts[1].decode()), int(facts[2])
            before = batch
        return found

    def whole(self, oid: str) -> bool:
        """Whether an object of any kind is here and is what its id says, read and hashed now."""
        _, kind, size = self._head(oid, "contents")
        digest = hashlib.sha1(f"{kind} {size}\0".encode())  # noqa: S324 git's own
        for chunk in self._content(size) if kind else ():
            digest.update(chunk)
        return digest.hexdigest() == oid

    def blob(self, oid: str, limit: int) -> bytes | None:
        """The bytes of a small blob; None, and none of it read, where it is longer than `limit`."""
        if self._ask(oid, "blob", "info")[1] > limit:
            return None
        return b"".join(self._content(self._ask(oid, "blob")[1]))

    def commit(self, oid: str) -> bytes:
        """A commit as it is stored."""
        return b"".join(self._content(self._ask(oid, "commit")[1]))

    def chunks(self, oid: str) -> Iterator[bytes]:
        """The bytes of a blob of any size; to be read to their end before anything else is asked."""
        return self._content(self._ask(oid, "blob")[1])

    def copy(self, oid: str, descriptor: int) -> None:
        for chunk in self.chunks(oid):
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]

    def tree_id(self, name: str) -> str:
        """The id of a tree, or of a commit's tree."""
        return self._ask(f"{name}^{{tree}}", "tree", "info")[0]

    def tree(self, name: str) -> tuple[str, list[tuple[int, bytes, str]]]:
        """(id, entries as (mode, name, id)) of a tree, which may be asked for as COMMIT^{tree}."""
        oid, size = self._ask(name, "tree")
        if size > _TREE_BYTES:
            raise Refusal("limit.files", f"a folder listing of {size} bytes")
        data, at = b"".join(self._content(size)), 0
        entries = []
        while at < size:
            space, end = data.index(b" ", at), data.index(b"\0", at)
            entries.append((int(data[at:space], 8), data[space + 1 : end], data[end + 1 : end + 21].hex()))
            at = end + 21
        return oid, entries

    def leaves(self, name: str, prefix: bytes = b"") -> Iterator[Leaf]:
        """Everything in a measured tree that is neither a folder nor a submodule's place."""
        return (entry for entry in self.entries(name, prefix) if entry[1] != GITLINK_MODE)

    def entries(self, name: str, prefix: bytes = b"") -> Iterator[Leaf]:
        """Everything in a measured tree that is no folder."""
        for mode, part, oid in self.tree(name)[1]:
            if mode == TREE_MODE:
                yield from self.entries(oid, prefix + part + b"/")
            else:
                yield prefix + part, mode, oid

    def below(self, name: str, path: bytes) -> Iterator[Leaf]:
        """As `leaves`, but only what lies at `path` or, where that is a folder, below it; "" is the whole tree."""
        mode, oid = TREE_MODE, name
        for part in path.split(b"/") if path else []:
            found = [entry for entry in self.tree(oid)[1] if entry[1] == part] if mode == TREE_MODE else []
            if not found:
                return
            mode, _, oid = found[0]
        if mode == TREE_MODE:
            yield from self.leaves(oid, path + b"/" if path else b"")
        elif mode != GITLINK_MODE:
            yield path, mode, oid
