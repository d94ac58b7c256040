"""Owns a bare repository of our own: it borrows the objects of the captured one, takes the new ones, and packs both.
It must not know where the bytes come from."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from typing import IO

from pifleet.results.capture.framing import CHUNK, Answer
from pifleet.results.capture.repository import Entry
from pifleet.results.capture.tool import ENV, GIT, Broken, Fatal, git, quoted


def blob_digest(size: int) -> hashlib._Hash:
    """The digest whose hex form is git's id of a blob, to be fed its `size` bytes."""
    return hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 git's own


class Bench:
    """New objects go in by one fast-import (a pack at once: loose files cost 20 times more); `finish` ends that."""

    def __init__(self, folder: bytes, objects: list[bytes]) -> None:
        self._path = folder
        command: list[str | bytes] = [*GIT, "init", "-q", "--bare", "--template=", folder]
        done = subprocess.run(command, capture_output=True, env=ENV, check=False)
        if done.returncode:
            raise Fatal("capture.tool", f"git init: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")
        os.makedirs(os.path.join(folder, b"objects", b"info"), exist_ok=True)
        with open(os.path.join(folder, b"objects", b"info", b"alternates"), "wb") as file:
            file.write(b"".join(quoted(path) + b"\n" for path in objects))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by close()
        self._import = subprocess.Popen(
            [*GIT, b"--git-dir=" + folder, "fast-import", "--quiet", "--done"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors, env=ENV, cwd=folder)
        self.blob(b"")  # `git add -N` puts the empty blob into an index without storing it

    def _write(self, data: bytes) -> None:
        assert self._import.stdin
        try:
            self._import.stdin.write(data)
        except BrokenPipeError:
            self._failed()

    def _failed(self) -> None:
        self._import.kill()
        self._import.wait()
        raise Broken("git.connectivity", f"git fast-import: {_said(self._errors)}")

    def blob(self, data: bytes) -> str:
        self._write(b"blob\ndata %d\n" % len(data) + data + b"\n")
        digest = blob_digest(len(data))
        digest.update(data)
        return digest.hexdigest()

    def large(self, file: IO[bytes], size: int) -> str:
        """Exactly `size` bytes of `file`, padded with zeros where it has become shorter."""
        self._write(b"blob\ndata %d\n" % size)
        digest = blob_digest(size)
        while size:
            chunk = file.read(min(CHUNK, size)) or b"\0" * min(CHUNK, size)
            digest.update(chunk)
            self._write(chunk)
            size -= len(chunk)
        self._write(b"\n")
        return digest.hexdigest()

    def commit(self, name: str, entries: Iterable[Entry], parents: Iterable[str]) -> None:
        lines = [f"commit refs/p/{name}\ncommitter pifleet <pifleet@localhost> {time.time():.0f} +0000\n".encode()]
        lines += [b"data <<.\n%s\n.\n" % name.encode()]
        lines += [f"{'merge' if at else 'from'} {parent}\n".encode() for at, parent in enumerate(parents)]
        lines += [b"deleteall\n"]
        lines += [b"M %s %s %s\n" % (mode.encode(), oid.encode(), quoted(path)) for mode, oid, path in entries]
        self._write(b"".join([*lines, b"\n"]))

    def finish(self) -> dict[str, tuple[str, str]]:
        """Name -> (commit, its tree) of everything committed. Raises Broken when an object named before is missing."""
        self._write(b"done\n")
        assert self._import.stdin
        try:
            self._import.stdin.close()
        except BrokenPipeError:
            self._failed()
        if self._import.wait():
            self._failed()
        shown = git(self._path, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname) %(tree)", "refs/p/")
        facts = (line.split() for line in shown.decode().splitlines())
        return {name: (commit, tree) for name, commit, tree in facts}

    def send(self, wanted: Iterable[str], have: Iterable[str], answer: Answer) -> None:
        """One pack of all that `wanted` reaches and `have` does not. Raises Broken when an object is missing."""
        checked = git(self._path, "cat-file", "--batch-check", data="\n".join([*have, ""]).encode()).decode()
        known = [line.split()[0] for line in checked.splitlines() if not line.endswith("missing")]
        options = ["--revs", "--thin", "--stdout", "-q", "--delta-base-offset"]
        command: list[str | bytes] = [*GIT, b"--git-dir=" + self._path, "pack-objects", *options]
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as errors:
            asked.write("".join([f"{oid}\n" for oid in wanted] + [f"^{oid}\n" for oid in known]).encode())
            asked.seek(0)
            packer = subprocess.Popen(command, stdin=asked, stdout=subprocess.PIPE, stderr=errors, env=ENV,
                                      cwd=self._path)
            with packer:
                assert packer.stdout
                answer.data(packer.stdout)
            if packer.returncode:
                raise Broken("git.connectivity", f"git pack-objects: {_said(errors)}")

    def close(self) -> None:
        if self._import.poll() is None:
            self._import.kill()
            self._import.wait()
        self._errors.close()
        shutil.rmtree(self._path, ignore_errors=True)


def _said(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read(1 << 20).decode("utf-8", "replace").splitlines()
    return " ".join([line for line in lines if line.startswith(("fatal:", "error:"))])[:300]
