"""Owns sending what a repository's own objects hold beyond what home has: its history, packed by git.
It must not look at a work tree."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from io import BufferedReader
from typing import IO, cast

from pifleet.results.capture.framing import SECTION
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.tool import ENV, GIT, Beside, Broken, git

_PACK = ("pack-objects", "--stdout", "-q", "--delta-base-offset")
_Pack = tuple[bytes, tuple[str, ...]]  # what to ask of git, and how


class History:
    """Everything that `wanted` reaches and `known` does not, packed and sent beside all else from now on.

    Little goes as one pack of differences, and little is expected where home has something of it. Much goes file by
    file in packs of one section, so that a cut costs one section, and the folders and commits, which refer to all
    others, at the end. A context manager, since what has begun must end. What builds upon it has to `wait`, and so does
    a history that is only what comes `after` another.
    """

    def __init__(self, repository: Repository, wanted: Iterable[str], known: Iterable[str], sender: Sender,
                 after: History | None = None) -> None:
        sender.ask()
        self._repository, self._sender, self._after = repository, sender, after
        there = _there(repository, {*known, *sender.have})
        self._little = _lines(sorted(wanted)) + _lines(f"^{oid}" for oid in there), ("--revs", "--thin")
        self._packing = _Packing(repository, *self._little) if there else None
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
        try:
            if self._after:
                self._after.wait()
            if self._packing and not self._is_little():
                self._packing.drop()
                self._packing = None
            for pack in [self._little] if self._packing else self._planned():
                if self._stopped:
                    return
                self._packing = self._packing or _Packing(self._repository, *pack)
                self._packing.send(self._sender)
                self._packing = None
        finally:
            if self._packing:
                self._packing.drop()

    def _is_little(self) -> bool:
        """Whether what was expected holds, as far as this git can tell (before 2.31 none can)."""
        asked = ("rev-list", "--objects", "--disk-usage", "--stdin")
        told = git(self._repository.git_dir, *asked, data=self._little[0], env=self._repository.env, may_fail=True)
        return told.strip().isdigit() and 0 < int(told) <= SECTION

    def _planned(self) -> Iterator[_Pack]:
        listed = _git(self._repository, "rev-list", "--objects", "--no-object-names", "--stdin", data=self._little[0])
        if not listed:
            return
        check = ("cat-file", "--buffer", "--batch-check=%(objectname) %(objecttype) %(objectsize:disk)")
        facts = [line.split() for line in _git(self._repository, *check, data=listed).splitlines()]
        if any(len(fact) != 3 for fact in facts):
            raise Broken("git.connectivity", "an object of the history is missing")
        if sum(int(size) for _, _, size in facts) <= SECTION:
            yield self._little
            return
        part: list[bytes] = []
        room = SECTION
        for oid, kind, size in facts:
            if kind == b"blob" and bytes.fromhex(oid.decode()) not in self._sender.held:
                part.append(oid)
                room -= int(size)
                if room <= 0:
                    yield _lines(part), ()
                    part, room = [], SECTION
        if part:
            yield _lines(part), ()
        yield _lines(oid for oid, kind, _ in facts if kind != b"blob"), ()


class _Packing:
    """One pack, made by git while other things are done."""

    def __init__(self, repository: Repository, asked: bytes, options: tuple[str, ...]) -> None:
        command: list[str | bytes] = [*GIT, b"--git-dir=" + repository.git_dir, *_PACK, *options]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by send() or drop()
        with tempfile.TemporaryFile() as request:
            request.write(asked)
            request.seek(0)
            self._git = subprocess.Popen(command, stdin=request, stdout=subprocess.PIPE, stderr=self._errors,
                                         env={**ENV, **repository.env}, cwd=repository.git_dir)

    def send(self, sender: Sender) -> None:
        """Raises Broken."""
        with self._errors, self._git as packer:
            sender.pipe(cast(BufferedReader, packer.stdout), lambda: packer.wait() == 0)
            if packer.returncode:
                raise Broken("git.connectivity", f"git pack-objects: {_said(self._errors)}")

    def kill(self) -> None:
        self._git.kill()

    def drop(self) -> None:
        with self._errors, self._git:
            self.kill()


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


def _said(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read(1 << 20).decode("utf-8", "replace").splitlines()
    return " ".join([line for line in lines if line.startswith(("fatal:", "error:"))])[:300]
