"""Owns sending what a repository's own objects hold beyond what home has: its history, packed by git.
It must not look at a work tree."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from pifleet.results.capture.framing import SECTION
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.tool import ENV, GIT, Broken, git

_PACK = ("pack-objects", "--stdout", "-q", "--delta-base-offset")


class History:
    """Everything that `wanted` reaches and `known` does not; the first of its packs is in the making from now on.

    Little goes as one pack of differences. Much goes file by file in packs of one section, so that a cut costs one
    section, and the folders and commits, which refer to all others, at the end. Raises Broken when an object is
    missing. A context manager, since what has begun must end.
    """

    def __init__(self, repository: Repository, wanted: Iterable[str], known: Iterable[str], sender: Sender) -> None:
        sender.ask()
        self._repository, self._sender = repository, sender
        asked = _lines(sorted(wanted)) + _lines(f"^{oid}" for oid in _there(repository, {*known, *sender.have}))
        self._packs = self._planned(asked)
        first = next(self._packs, None)
        self._begun = _Packing(repository, *first) if first else None

    def __enter__(self) -> History:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._begun:
            self._begun.stop()

    def send(self) -> None:
        while self._begun:
            self._begun.send(self._sender)
            following = next(self._packs, None)
            self._begun = _Packing(self._repository, *following) if following else None

    def _planned(self, asked: bytes) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        """What to ask of git for each pack, and how."""
        listed = _git(self._repository, "rev-list", "--objects", "--no-object-names", "--stdin", data=asked)
        if not listed:
            return
        check = "--batch-check=%(objectname) %(objecttype) %(objectsize:disk)"
        facts = [line.split() for line in _git(self._repository, "cat-file", check, data=listed).splitlines()]
        if any(len(fact) != 3 for fact in facts):
            raise Broken("git.connectivity", "an object of the history is missing")
        if sum(int(size) for _, _, size in facts) <= SECTION:
            yield asked, ("--revs", "--thin")
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
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by send() or stop()
        with tempfile.TemporaryFile() as request:
            request.write(asked)
            request.seek(0)
            self._git = subprocess.Popen(command, stdin=request, stdout=subprocess.PIPE, stderr=self._errors,
                                         env={**ENV, **repository.env}, cwd=repository.git_dir)

    def send(self, sender: Sender) -> None:
        with self._errors, self._git as packer:
            assert packer.stdout
            sender.pipe(packer.stdout)
            packer.wait()
            sender.finish(whole=packer.returncode == 0)
            if packer.returncode:
                raise Broken("git.connectivity", f"git pack-objects: {_said(self._errors)}")

    def stop(self) -> None:
        assert self._git.stdout
        self._git.kill()
        self._git.stdout.close()
        self._git.wait()
        self._errors.close()


def _there(repository: Repository, oids: Iterable[str]) -> list[str]:
    """Those that this repository has too."""
    shown = _git(repository, "cat-file", "--batch-check", data=_lines(sorted(oids)))
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
