"""Owns what is measured on: folders and repositories of a given size, the same bytes each time, made quickly.
It must not know how they are brought home."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import IO

from tests.bench.place import GIT_ENV, git

_POOL = 16 << 20
_PER_FOLDER = 50
_NOW = 1_700_000_000
MIB = 1 << 20


@cache
def _pool() -> bytes:
    """Text that compresses like source code, of which every file is a piece."""
    chance = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkqjxz_"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 11))) for _ in range(6000)]
    words += ["return", "if", "const", "=", "(", ")", "{", "}", ";\n", "\n    ", "self", "import", ".", ","] * 300
    text = " ".join(chance.choices(words, k=_POOL // 4)).encode()
    return text[:_POOL]


class Content:
    """File contents; one in `every` is random bytes (0: none), as pictures and archives are."""

    def __init__(self, seed: int, mean: int, every: int = 20) -> None:
        self._chance, self._mean, self._every, self._made = random.Random(seed), mean, every, 0

    def __call__(self) -> bytes:
        self._made += 1
        size = min(int(self._chance.expovariate(1 / self._mean)) + 1, 40 * self._mean)
        if self._every and self._made % self._every == 0:
            return self._chance.randbytes(size)
        at = self._chance.randrange(_POOL - size)
        return b"// %d\n" % self._made + _pool()[at : at + size]


def names(count: int) -> Iterator[str]:
    """Paths three folders deep, 50 files in a folder, as packages and their libraries lie."""
    for at in range(count):
        folder = at // _PER_FOLDER
        yield f"part{folder // 20:03}/lib{folder % 20:02}/src/file{at % _PER_FOLDER:02}.js"


def tree(folder: Path, count: int, content: Callable[[], bytes]) -> Path:
    """`count` loose files."""
    made = ""
    for name in names(count):
        path = folder / name
        if str(path.parent) != made:
            path.parent.mkdir(parents=True)
            made = str(path.parent)
        path.write_bytes(content())
    return folder


def repository(folder: Path, count: int, content: Callable[[], bytes], commits: int = 0,
               assets: Callable[[], bytes] | None = None) -> Path:
    """A repository with a clean work tree of `count` files; each of its further commits changes 44 of them, adds an
    asset and has two tags."""
    git(folder.parent, "init", "-q", "-b", "main", folder)
    argv = ["git", "fast-import", "--quiet"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=folder, env=GIT_ENV) as importer:
        assert importer.stdin
        _import(importer.stdin, list(names(count)), content, commits, assets)
    assert importer.returncode == 0
    git(folder, "reset", "-q", "--hard")
    return folder


def _import(out: IO[bytes], files: list[str], content: Callable[[], bytes], commits: int,
            assets: Callable[[], bytes] | None) -> None:
    chance = random.Random(2)
    for number in range(commits + 1):
        out.write(b"commit refs/heads/main\ncommitter ana <ana@localhost> %d +0000\n" % (_NOW + number))
        out.write(b"data 7\nchange\n\n")
        for name in chance.sample(files, 44) if number else files:
            _inline(out, name, content())
        if number and assets:
            _inline(out, f"assets/{number}.png", assets())
            for tag in ("v", "build-"):
                out.write(b"reset refs/tags/%s%d\nfrom refs/heads/main\n\n" % (tag.encode(), number))


def _inline(out: IO[bytes], name: str, data: bytes) -> None:
    out.write(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data))


def agent_at_work(repository: Path, commits: int, each: int) -> None:
    """Commits on top, each of `each` changed files, and then as many files changed and as many new, uncommitted."""
    chance = random.Random(3)
    for number in range(commits + 1):
        for at, path in enumerate(chance.sample(list(names(4400)), each)):
            with open(repository / path, "ab") as file:
                file.write(b"agent %d %d\n" % (number, chance.getrandbits(64)))
            if number == commits:
                (repository / f"new{at}.js").write_bytes(b"new\n" + chance.randbytes(40).hex().encode())
        if number < commits:
            git(repository, "commit", "-q", "-a", "-m", f"step {number}")


def change_lines(folder: Path, count: int, files: int, seed: int) -> None:
    """Append a line to `count` of the files that `names(files)` gives."""
    chance = random.Random(seed)
    for name in chance.sample(list(names(files)), count):
        with open(folder / name, "ab") as file:
            file.write(b"changed %d\n" % chance.getrandbits(64))


def json_lines(seed: int) -> Iterator[bytes]:
    """Lines as a session log has them: a record around some text."""
    chance = random.Random(seed)
    for number in itertools.count():
        at, size = chance.randrange(_POOL - 4000), chance.randrange(80, 4000)
        line = {"type": "message", "id": f"{chance.getrandbits(64):x}", "time": _NOW + number,
                "text": _pool()[at : at + size].decode()}
        yield json.dumps(line).encode() + b"\n"


def big_file(path: Path, mebibytes: int) -> None:
    chance = random.Random(4)
    with open(path, "wb") as file:
        for _ in range(mebibytes):
            file.write(chance.randbytes(MIB))


def overwrite(path: Path, pieces: int, seed: int) -> None:
    """Overwrite pieces of 1 MiB at places of any alignment."""
    chance = random.Random(seed)
    size = path.stat().st_size
    with open(path, "r+b") as file:
        for _ in range(pieces):
            file.seek(chance.randrange(size - MIB))
            file.write(chance.randbytes(MIB))


def incompressible(folder: Path, count: int, size: int, seed: int, which: Iterator[int] | None = None) -> None:
    """Files of `size` random bytes, `count` of them or only `which`."""
    chance = random.Random(seed)
    for at in which or range(count):
        path = folder / f"{at % 100:02}" / f"{at}.bin"
        os.makedirs(path.parent, exist_ok=True)
        path.write_bytes(chance.randbytes(size))
