"""Owns sending what a repository's own objects hold beyond what home has: its history, packed by git.
It must not look at a work tree."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from typing import IO

from pifleet.results.capture.framing import SECTION
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.tool import ENV, GIT, Broken, git

_PACK = ("pack-objects", "--stdout", "-q", "--delta-base-offset")


def send_history(repository: Repository, wanted: Iterable[str], known: Iterable[str], sender: Sender) -> None:
    """Everything that `wanted` reaches and `known` does not. Raises Broken when an object is missing.

    Little goes as one pack of differences. Much goes file by file in packs of one section, so that a cut costs one
    section, and the folders and commits, which refer to all others, at the end.
    """
    sender.ask()
    asked = _lines(sorted(wanted)) + _lines(f"^{oid}" for oid in _there(repository, {*known, *sender.have}))
    listed = _git(repository, "rev-list", "--objects", "--no-object-names", "--stdin", data=asked)
    if not listed:
        return None
    check = "--batch-check=%(objectname) %(objecttype) %(objectsize:disk)"
    facts = [line.split() for line in _git(repository, "cat-file", check, data=listed).splitlines()]
    if any(len(fact) != 3 for fact in facts):
        raise Broken("git.connectivity", "an object of the history is missing")
    if sum(int(size) for _, _, size in facts) <= SECTION:
        return _pack(repository, sender, asked, "--revs", "--thin")
    part: list[bytes] = []
    room = SECTION
    for oid, kind, size in facts:
        if kind == b"blob" and bytes.fromhex(oid.decode()) not in sender.held:
            part.append(oid)
            room -= int(size)
            if room <= 0:
                _pack(repository, sender, _lines(part))
                part, room = [], SECTION
    if part:
        _pack(repository, sender, _lines(part))
    return _pack(repository, sender, _lines(oid for oid, kind, _ in facts if kind != b"blob"))


def _there(repository: Repository, oids: Iterable[str]) -> list[str]:
    """Those that this repository has too."""
    shown = _git(repository, "cat-file", "--batch-check", data=_lines(sorted(oids)))
    return [line.split()[0].decode() for line in shown.splitlines() if not line.endswith(b"missing")]


def _pack(repository: Repository, sender: Sender, asked: bytes, *options: str) -> None:
    command: list[str | bytes] = [*GIT, b"--git-dir=" + repository.git_dir, *_PACK, *options]
    with tempfile.TemporaryFile() as request, tempfile.TemporaryFile() as errors:
        request.write(asked)
        request.seek(0)
        with subprocess.Popen(command, stdin=request, stdout=subprocess.PIPE, stderr=errors,
                              env={**ENV, **repository.env}, cwd=repository.git_dir) as packer:
            assert packer.stdout
            sender.pipe(packer.stdout)
        sender.finish(whole=packer.returncode == 0)
        if packer.returncode:
            raise Broken("git.connectivity", f"git pack-objects: {_said(errors)}")


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
