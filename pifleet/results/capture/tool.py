"""Owns how git is called inside a sandbox: with no configuration that could run something or change what is read.
It must not know what is asked of git."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable
from typing import Any

# Code points that HFS+ leaves out of a comparison (git's utf8.c, next_hfs_char).
_INVISIBLE = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
GIT = ["git"]
for _setting in ("core.fsmonitor=false", "core.hooksPath=/dev/null", "core.excludesFile=/dev/null", "gc.auto=0",
                 "core.attributesFile=/dev/null", "core.untrackedCache=false", "core.bigFileThreshold=64m",
                 "protocol.allow=never", "pack.threads=1", "pack.windowMemory=64m", "pack.compression=1",
                 "pack.window=2"):
    GIT += ["-c", _setting]
ENV = {"PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"), "HOME": "/nonexistent", "LC_ALL": "C",
       "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_OPTIONAL_LOCKS": "0",
       "GIT_NO_LAZY_FETCH": "1", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": "/dev/null",
       "GIT_TERMINAL_PROMPT": "0",
       # A third of packing many small objects was giving memory back and asking for it again.
       "MALLOC_TRIM_THRESHOLD_": "33554432", "MALLOC_MMAP_THRESHOLD_": "33554432"}


class Broken(Exception):
    """One repository cannot be captured as such; `reason` is a word of the receipt."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Fatal(Broken):
    """Nothing can be captured."""


def git(git_dir: bytes, *args: str | bytes, data: bytes = b"", tree: bytes = b"", may_fail: bool = False,
        env: dict[str, str] | None = None) -> bytes:
    """Standard output of one command. Raises Broken when it fails, unless it may: then the answer is empty.

    The directory is always named, so that git searches for none and asks nobody about its owner.
    """
    where = [b"--git-dir=" + git_dir] + ([b"--work-tree=" + tree] if tree else [])
    command = [*GIT, *where, *args]
    done = subprocess.run(command, input=data, capture_output=True, env={**ENV, **(env or {})}, cwd=tree or git_dir,
                          check=False)
    if done.returncode == 0 or may_fail:
        return b"" if done.returncode else done.stdout
    raise Broken("git.broken", f"git {args[0]!s}: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")


class Beside:
    """Has `work` done by a thread of its own from now on; `result` waits for what it returns, or raises what it raised.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._value: Any = None
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def result(self) -> Any:
        self.join()
        if self._trouble:
            raise self._trouble
        return self._value

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # it is raised where the result is asked for
            self._trouble = error


# What git's fsck refuses in a .gitmodules (CVE-2018-11235, CVE-2018-17456): names that climb, values that are options.
_BAD_MODULES = re.compile(rb"""(?im)^\s*\[submodule\s+"(?:[^"]*[/\\])?\.\.(?:[/\\][^"]*)?"|^\s*(?:path|url)\s*=\s*"?-"""
                          rb"""|^\s*update\s*=\s*"?!""")


def names_gitmodules(path: bytes) -> bool:
    return path[-11:].lower() == b".gitmodules" and path[-12:-11] in b"/"


def bad_gitmodules(path: bytes) -> bool:
    """Whether home would refuse all of a history that had this file in it. Raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return bool(_BAD_MODULES.search(file.read(1 << 20)))


def quoted(path: bytes) -> bytes:
    """A path as git's lists of folders take it, whatever it contains."""
    return b'"' + re.sub(rb'["\\\x00-\x1f]', lambda found: b"\\%03o" % ord(found[0]), path) + b'"'


def names_git(name: bytes) -> bool:
    """Whether some file system would take `name` for .git (git's is_hfs_dotgit and is_ntfs_dotgit, and no less)."""
    if name.isascii() and b"git" not in name.lower():
        return False
    text = _INVISIBLE.sub("", name.decode("utf-8", "surrogateescape")).lower()
    return any(part.split(":")[0].rstrip(". ") in (".git", "git~1") for part in text.split("\\"))
