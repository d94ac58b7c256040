"""Owns reading objects back and hashing them again: the only proof that a store still holds what its ids name.
It must not know what an object is part of."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

from pifleet.results.store.homegit import HomeGit

_ASKED = 200  # ids at once: they fit into a pipe, so that neither end waits for the other
_CHUNK = 1 << 20


def damaged(git: HomeGit, oids: Sequence[str]) -> list[str]:
    """Those that are missing, cannot be read, or are not what their ids say.

    git dies of an object that it cannot read; one that it dies of as the first it is asked for is damaged.
    """
    found: list[str] = []
    at = 0
    while at < len(oids):
        answered = 0
        with tempfile.TemporaryFile() as errors, git.start("cat-file", "--batch", errors=errors) as child:
            for whole in _replies(child, oids[at:]):
                if not whole:
                    found.append(oids[at + answered])
                answered += 1
            child.kill()
        if not answered:
            found.append(oids[at])
        at += max(1, answered)
    return found


def _replies(child: subprocess.Popen[bytes], oids: Sequence[str]) -> Iterator[bool]:
    """Whether each is whole; ends early where git does."""
    assert child.stdin
    assert child.stdout
    for at in range(0, len(oids), _ASKED):
        asked = oids[at : at + _ASKED]
        try:
            child.stdin.write("".join(f"{oid}\n" for oid in asked).encode())
            child.stdin.flush()
        except BrokenPipeError:
            return
        for oid in asked:
            head = child.stdout.readline().split()
            if len(head) != 3:
                if head[1:] != [b"missing"]:
                    return
                yield False
                continue
            digest, left = hashlib.sha1(b"%s %s\0" % (head[1], head[2])), int(head[2])  # noqa: S324 git's own
            while left:
                chunk = child.stdout.read(min(left, _CHUNK))
                if not chunk:
                    return
                digest.update(chunk)
                left -= len(chunk)
            child.stdout.read(1)
            yield digest.hexdigest() == oid
