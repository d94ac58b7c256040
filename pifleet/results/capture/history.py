"""Owns sending what a repository's own objects hold beyond what home has: its history, packed by git.
It must not look at a work tree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pifleet.results.capture.framing import CHUNK, SECTION
from pifleet.results.capture.packing import Program, lies_loose, loose_packing, send
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.tool import ENV, GIT, Beside, Broken, git

_LIST = ("rev-list", "--objects", "--no-object-names", "--stdin")
_PACK = ("pack-objects", "--stdout", "-q", "--delta-base-offset")
_MANY = 100  # objects from which on it pays to start a Python for those that lie loose
_LINE = 41  # bytes of an id in a list
# As bytes to the end: a hundred thousand lists and words need ten times the memory.
_FACT = re.compile(rb"^(blob|tree|commit|tag) (\d+) ([0-9a-f]{40})$", re.MULTILINE)


class Histories:
    """Those of one repository, begun bit by bit as it is read. `known` is what home has of it.

    A context manager, since what has begun must end.
    """

    def __init__(self, repository: Repository, known: Iterable[str], sender: Sender) -> None:
        self._repository, self._known, self._sender = repository, set(known), sender
        self._begun: list[_History] = []

    def __enter__(self) -> Histories:
        return self

    def __exit__(self, *raised: object) -> None:
        for history in self._begun:
            history.stop()

    def begin(self) -> None:
        """Have all that it is known to want by now on its way."""
        if new := self._repository.wanted - self._known:
            after = self._begun[-1] if self._begun else None
            self._begun.append(_History(self._repository, new, self._known, self._sender, after))
            self._known |= new

    def wait(self) -> None:
        """Until all is sent, before what builds upon it. Raises Broken when an object is missing, BrokenPipeError when
        home is gone."""
        for history in self._begun:
            history.wait()


class _History:
    """Everything that `wanted` reaches and `known` does not, packed and sent beside all else from now on.

    What git has not packed yet goes as it lies, which costs a fraction of asking git. Little goes as one pack of
    differences. Much goes file by file in packs of one section, so that a cut costs one section, and the folders and
    commits, which refer to all others, at the end. It comes `after` another one, on which it may build.
    """

    def __init__(self, repository: Repository, wanted: Iterable[str], known: Iterable[str], sender: Sender,
                 after: _History | None) -> None:
        sender.ask()
        self._repository, self._sender, self._after = repository, sender, after
        there = _there(repository, {*known, *sender.have})
        self._asked = _lines(sorted(wanted)) + _lines(f"^{oid}" for oid in there)
        self._running: list[Program] = []
        self._stopped = False
        self._sending = Beside(self._send)

    def stop(self) -> None:
        self._stopped = True
        for program in self._running:
            program.kill()
        self._sending.join()

    def wait(self) -> None:
        self._sending.result()

    def _send(self) -> None:
        listed, loose = self._listed()
        if self._after:
            self._after.wait()
        if loose and send(loose, self._sender):
            return
        for asked, options in self._planned(listed):
            packing = self._git(*_PACK, *options)
            packing.feed(asked)
            if not send(packing, self._sender):
                raise Broken("git.connectivity", f"git pack-objects: {packing.said}")

    def _listed(self) -> tuple[bytes, Program | None]:
        """Ids of the objects, a line each; and what packs them meanwhile, where they lie loose."""
        folder, loose, looked = self._repository.objects_folder, None, False
        listing = self._git(*_LIST)
        listing.feed(self._asked)
        listed, out = bytearray(), listing.output()
        while data := out.read1(CHUNK):
            listed += data
            if loose:
                loose.feed(data)
            elif not looked and len(listed) >= _MANY * _LINE:
                looked = True
                if all(lies_loose(folder, oid) for oid in bytes(listed).split()[:_MANY]):
                    loose = self._begun(loose_packing(folder))
                    loose.feed(listed)
        if not listing.good():
            raise Broken("git.connectivity", f"git rev-list: {listing.said}")
        return bytes(listed), loose

    def _git(self, *args: str) -> Program:
        command: list[str | bytes] = [*GIT, b"--git-dir=" + self._repository.git_dir, *args]
        return self._begun(Program(command, {**ENV, **self._repository.env}))

    def _begun(self, program: Program) -> Program:
        """One that is to end when this does."""
        self._running.append(program)
        if self._stopped:
            program.kill()
        return program

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
