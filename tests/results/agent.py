"""Owns who works in a sandbox: picks repositories, files, names and contents by chance, and runs plain git on them.
It must not know pulls, nor what any of its work is for."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from random import Random

from tests.results.box import GIT_ENV, Box

BARE = {b"HEAD", b"objects", b"refs"}
_STEMS = ("a", "b.txt", "src/main.py", "docs/read me.md", "it's", 'say "hi"', "back\\slash", "-rf", "naïve/日本",
          "tab\there", "deep/er/still/x", "Makefile", "x.log", "build/out.bin", "lib/y.c", "a*[b]?", "$HOME", "#hash",
          "HEAD")
_RAW = (b"caf\xe9", b"bad\xff/\xfe", b"line\nbreak")
_FUTURE = 2_000_000_000  # git forgets what is older than some weeks


class Agent:
    """Works in a box; the same chance does the same things."""

    def __init__(self, box: Box, chance: Random) -> None:
        self.box, self.chance = box, chance
        self._clock = _FUTURE

    def git(self, folder: Path, *args: str | bytes, data: bytes = b"") -> int:
        """The exit code: a command that makes no sense at this moment is part of a history too."""
        self._clock += 1
        date = f"{self._clock} +0000"
        env = {**GIT_ENV, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        command = ["git", "-c", "protocol.file.allow=always", "-c", "gc.auto=0", *args]
        return subprocess.run(command, cwd=folder, input=data, env=env, capture_output=True, check=False).returncode

    def asked(self, folder: Path, *args: str) -> list[str]:
        """The lines that a command prints."""
        done = subprocess.run(["git", *args], cwd=folder, env=GIT_ENV, capture_output=True, check=False)
        return done.stdout.decode("utf-8", "surrogateescape").splitlines()

    def repositories(self) -> list[Path]:
        """Every folder with a .git, the workspace itself too."""
        found = []
        for root, folders, names in os.walk(os.fsencode(self.box.workspace)):
            if b".git" in folders or b".git" in names:
                found.append(Path(os.fsdecode(root)))
            folders[:] = [name for name in folders if name != b".git"]
        return sorted(found)

    def repository(self) -> Path:
        """One of them; the main one more often than all others."""
        found = self.repositories()
        return self.box.api if self.box.api in found and self.chance.random() < 0.6 else self.chance.choice(found)

    def files(self, root: Path) -> list[Path]:
        """Files and links of a work tree, those of repositories inside it too, but nothing of git's own."""
        found = []
        for folder, folders, names in os.walk(os.fsencode(root)):
            bare = {*folders, *names} >= BARE
            folders[:] = sorted(name for name in folders if name != b".git" and not bare)
            if not bare:
                links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
                found += [Path(os.fsdecode(os.path.join(folder, name))) for name in (*names, *links) if name != b".git"]
        return sorted(found)

    def file(self, root: Path) -> Path:
        """A plain file that is there; a new one where there is none."""
        found = [path for path in self.files(root) if stat.S_ISREG(path.lstat().st_mode)]
        return self.chance.choice(found) if found else self.write(self.new_path(root))

    def folders(self, root: Path) -> list[Path]:
        """Folders below a work tree that hold something and are no repository."""
        return sorted({path.parent for path in self.files(root)} - {root, *self.repositories()})

    def new_path(self, root: Path) -> Path:
        """A place for something new; what is in its way, and is not a whole folder, has gone."""
        if self.chance.random() < 0.15:
            name = os.fsdecode(self.chance.choice(_RAW))
        else:
            name = self.chance.choice(_STEMS)
            name = name if self.chance.random() < 0.5 else f"{name}{self.chance.randrange(100)}"
        path = root / name
        for place in (*reversed(path.relative_to(root).parents), path.relative_to(root)):
            if (root / place).is_symlink() or ((root / place).exists() and not (root / place).is_dir()):
                (root / place).unlink()
        if path.is_dir():
            return self.new_path(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def content(self) -> bytes:
        kind = self.chance.randrange(6)
        if kind == 0:
            return b""
        if kind == 1:
            return self.chance.randbytes(self.chance.randrange(1, 5000))
        ending = b"\r\n" if kind == 2 else b"\n"
        lines = [b"line %d$Id$%s" % (self.chance.randrange(1000), ending) for _ in range(self.chance.randrange(1, 40))]
        return b"".join(lines)

    def write(self, path: Path) -> Path:
        if path.is_fifo() or path.is_symlink():  # one is waited for for ever, the other may lead out of the box
            path.unlink()
        path.write_bytes(self.content())
        return path
