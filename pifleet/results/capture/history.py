"""Owns sending what a repository's own objects hold beyond what home has: its history, packed by git.
It must not look at a work tree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pifleet.results.capture.framing import SECTION
from pifleet.results.capture.packing import Packing, lie_loose, loose_packing
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.tool import ENV, GIT, Beside, Broken, git

_PACK = ("pack-objects", "--stdout", "-q", "--delta-base-offset")
_MANY = 100  # objects from which on it pays to start a Python for them
_LINE = 41  # bytes of an id in a list
# As bytes to the end: a hundred thousand lists and words need ten times the memory.
_FACT = re.compile(rb"^(blob|tree|commit|tag) (\d+) ([0-9a-f]{40})$", re.MULTILINE)


class History:
    """Everything that `wanted` reaches and `known` does not, packed and sent beside all else from now on.

    What git has not packed yet goes as it lies, which costs a fraction of asking git. Little goes as one pack of
    differences. Much goes file by file in packs of one section, so that a cut costs one section, and the folders and
    commits, which refer to all others, at the end. A context manager, since what has begun must end. What builds upon
    it has to `wait`, and so does a history that is only what comes `after` another.
    """

    def __init__(self, repository: Repository, wanted: Iterable[str], known: Iterable[str], sender: Sender,
                 after: History | None = None) -> None:
        sender.ask()
        self._repository, self._sender, self._after = repository, sender, after
        there = _there(repository, {*known, *sender.have})
        self._asked = _lines(sorted(wanted)) + _lines(f"^{oid}" for oid in there)
        self._packing: Packing | None = None
        self._stopped = False
        self._sending = Beside(self._send)

    def __enter__(self) -> History:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stopped = True
        if packing := self._packing:
            packing.kill()
        self._sending.join()

    def wait(self) -> None:
        """Until all is sent. Raises Broken when an object is missing, BrokenPipeError when home is gone."""
        self._sending.result()

    def _send(self) -> None:
        asking = ("rev-list", "--objects", "--no-object-names", "--stdin")
        listed = _git(self._repository, *asking, data=self._asked)
        if self._after:
            self._after.wait()
        folder = self._repository.objects_folder
        if len(listed) >= _MANY * _LINE and lie_loose(folder, listed) and self._pipe(loose_packing(folder, listed)):
            return
        for asked, options in self._planned(listed):
            command: list[str | bytes] = [*GIT, b"--git-dir=" + self._repository.git_dir, *_PACK, *options]
            if self._stopped:
                return
            packing = Packing(command, asked, {**ENV, **self._repository.env})
            if not self._pipe(packing):
                raise Broken("git.connectivity", f"git pack-objects: {packing.said}")

    def _pipe(self, packing: Packing) -> bool:
        self._packing = packing
        return packing.send(self._sender)

    def _planned(self, listed: bytes) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        """What to ask of git for each pack, and how; `listed` are lines of ids."""
        if not listed:
            return
        check = ("cat-file", "--buffer", "--batch-check=%(objecttype) %(objectsize:disk) %(objectname)")
        facts = _git(self._repository, *check, data=listed)
        if len(listed) // _LINE != sum(1 for _ in _FACT.finditer(facts)):
            raise Broken("git.connectivity", "an object of the history is missing")
        if sum(int(fact[2]) for fact in _FACT.finditer(facts)) <= SECTION:
            yield self._asked, ("--revs", "--thin")
            return
        part, room = bytearray(), SECTION
        for fact in _FACT.finditer(facts):
            if fact[1] == b"blob" and bytes.fromhex(fact[3].decode()) not in self._sender.held:
                part += fact[3] + b"\n"
                room -= int(fact[2])
                if room <= 0:
                    yield bytes(part), ()
                    part, room = bytearray(), SECTION
        if part:
            yield bytes(part), ()
        yield _lines(fact[3] for fact in _FACT.finditer(facts) if fact[1] != b"blob"), ()


def _there(repository: Repository, oids: Iterable[str]) -> list[str]:
    """Those that this repository has too."""
    shown = _git(repository, "cat-file", "--buffer", "--batch-check", data=_lines(sorted(oids)))
    return [line.split()[0].decode() for line in shown.splitlines() if not line.endswith(b"missing")]


def _git(repository: Repository, *args: str, data: bytes) -> bytes:
    """Reading that fails means that an object is missing."""
    try:
        return git(repository.git_dir, *args, data=data, env=repository.env)
    except Broken as error:
        raise Broken("git.connectivity", str(error)) from None


def _lines(words: Iterable[str | bytes]) -> bytes:
    return b"".join((word.encode() if isinstance(word, str) else word) + b"\n" for word in words)
