"""Owns how git is called at home on objects that a sandbox made: no configuration, hard limits, its deaths explained.
It must not know generations or units."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from pifleet.results.limits import Limits, Refusal
from pifleet.results.names import said

_SETTINGS = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.bigFileThreshold=64m", "core.fsync=all",
             "core.packedGitWindowSize=64m", "core.packedGitLimit=512m", "gc.auto=0", "protocol.allow=never")
_ENV = {"HOME": "/nonexistent", "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": "/dev/null", "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_AUTHOR_NAME": "pifleet", "GIT_AUTHOR_EMAIL": "pifleet@localhost",
        "GIT_COMMITTER_NAME": "pifleet", "GIT_COMMITTER_EMAIL": "pifleet@localhost"}
# Old, harmless slips in the histories of well-known projects, which --strict would otherwise turn into errors; the
# names are those of git's fsck.<msg-id>. Nothing that concerns a name in a tree is among them.
_FORGIVEN = ("zeroPaddedFilemode", "missingSpaceBeforeDate", "badTimezone", "badDate", "badDateOverflow",
             "missingEmail", "missingNameBeforeEmail", "badEmail", "missingSpaceBeforeEmail", "missingTaggerEntry",
             "badTagName", "multipleAuthors", "nulInCommit", "zeroPaddedDate",
             # What only git's own checkout would read: a folder of that name, or more than it cares to read.
             "gitattributesBlob", "gitattributesLarge", "gitattributesLineLength", "gitattributesMissing",
             "gitmodulesBlob", "gitmodulesLarge", "gitmodulesParse")
_TRAILER = 20
Facts = dict[str, tuple[str, int]]  # id -> type, size in bytes
_STRICT = "--strict=" + ",".join(f"{slip}=ignore" for slip in _FORGIVEN)


class HomeGit:
    """Git on one bare repository; with a `quarantine`, new objects go there and the repository is only read."""

    def __init__(self, folder: Path, limits: Limits, quarantine: Path | None = None,
                 lenders: Sequence[Path] = ()) -> None:
        """`lenders` are the repositories that `folder` borrows from; git does not look them up from a quarantine."""
        self._limits = limits
        self._env = {**_ENV, "PATH": os.environ.get("PATH", os.defpath)}
        if quarantine:
            self._env |= {"GIT_OBJECT_DIRECTORY": str(quarantine), "GIT_QUARANTINE_PATH": str(quarantine),
                          "GIT_ALTERNATE_OBJECT_DIRECTORIES":
                              os.pathsep.join(_quoted(path / "objects") for path in (folder, *lenders))}
        self._argv = ["git", f"--git-dir={folder}", *(word for setting in _SETTINGS for word in ("-c", setting))]

    @staticmethod
    def create(folder: Path) -> None:
        """A bare repository without hooks, description or sample files; nothing happens where it exists.

        It is made beside its place and then named, so that one that is there is whole.
        """
        if folder.is_dir():
            return
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        if not shutil.which("git"):
            raise Refusal("capture.tool", "git is not installed on this machine; try: apt install git")
        env = {**_ENV, "PATH": os.environ.get("PATH", os.defpath)}
        command = ["git", "init", "-q", "--bare", "--template=", "--", str(new)]
        done = subprocess.run(command, env=env, check=False, capture_output=True)
        if done.returncode:
            raise Refusal("io.failed", f"git init: {said(done.stderr.decode('utf-8', 'replace'))}")
        new.rename(folder)

    def start(self, *args: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """A git that waits for its standard input, so that the limits are on it before it has read a byte."""
        child = subprocess.Popen([*self._argv, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                 env=self._env)
        for limit, value in ((resource.RLIMIT_AS, self._limits.memory), (resource.RLIMIT_CPU, self._limits.cpu),
                             (resource.RLIMIT_FSIZE, self._limits.pack + (1 << 30))):
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(child.pid, limit, (value, value))
        return child

    def run(self, *args: str, data: bytes = b"", code: str = "git.connectivity") -> bytes:
        """Standard output. Raises Refusal with `code`, or git.limit when it ran into a limit."""
        with tempfile.TemporaryFile() as errors, self.start(*args, errors=errors) as child:
            output, _ = child.communicate(data)
            check(child.returncode, errors, code)
        return output

    @contextlib.contextmanager
    def beside(self, *args: str, data: bytes, code: str = "git.connectivity") -> Iterator[None]:
        """A git that says nothing works while the caller goes on. Raises Refusal as `run` does, in the end."""
        with tempfile.TemporaryFile() as errors, self.start(*args, errors=errors) as child:
            try:
                assert child.stdin
                with contextlib.suppress(BrokenPipeError):  # its exit code says why
                    child.stdin.write(data)
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.close()
                yield
            except BaseException:
                child.kill()
                raise
            check(child.wait(), errors, code)

    def tips(self) -> list[str]:
        """The ids of all refs."""
        return self.run("for-each-ref", "--format=%(objectname)").decode().split()

    def sizes(self, oids: Iterable[str]) -> Facts:
        """Of those of the objects that are here."""
        asked = "".join(f"{oid}\n" for oid in oids).encode()
        shown = self.run("cat-file", "--buffer", "--batch-check", data=asked).decode()
        facts = (line.split() for line in shown.splitlines())
        return {fact[0]: (fact[1], int(fact[2])) for fact in facts if len(fact) == 3}


def check(exit_code: int, errors: IO[bytes], code: str) -> None:
    """Turn git's death into a Refusal; a death by signal is a limit, or a recursion that only an attack has."""
    if exit_code == 0:
        return
    errors.seek(0)
    text = errors.read(1 << 16).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.startswith(("fatal:", "error:"))]
    if "No space left" in text:
        code = "io.space"
    elif exit_code < 0 or any(word in text for word in ("ut of memory", "mmap failed", "exceeds maximum allowed size")):
        code = "git.limit"
    elif "did not receive expected object" in text:
        code = "git.connectivity"
    raise Refusal(code, f"git: {said(' '.join(lines)) or f'exit code {exit_code}'}")


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


class PackSink:
    """Takes the bytes of one pack into the quarantine; `finish` says whether it was whole, strict and small enough.

    A pack ends with the SHA-1 of all before; that is compared here too, because index-pack overlooks bytes after it.
    """

    def __init__(self, git: HomeGit, limits: Limits) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by finish() or abort()
        self._limits, self._size = limits, 0
        self._digest, self._last = hashlib.sha1(), b""  # noqa: S324 git's own
        self._child = git.start("index-pack", "--stdin", "--fix-thin", "--threads=1", _STRICT,
                                f"--max-input-size={limits.pack}", errors=self._errors)

    def write(self, data: bytes | memoryview) -> None:
        self._size += len(data)
        if self._size > self._limits.pack:
            raise Refusal("git.limit", f"a pack of more than {self._limits.pack} bytes")
        whole = memoryview(self._last + data)
        data, self._last = whole[:-_TRAILER], bytes(whole[-_TRAILER:])
        self._digest.update(data)
        self._feed(data)

    def _feed(self, data: bytes | memoryview) -> None:
        assert self._child.stdin
        try:
            self._child.stdin.write(data)
        except BrokenPipeError:
            self._end()
            raise Refusal("git.fsck", "bytes after the end of a pack") from None

    def finish(self) -> None:
        """Raises Refusal: git.fsck, git.limit, git.connectivity, io.space."""
        self._feed(self._last)
        self._end()
        if self._last != self._digest.digest():
            raise Refusal("git.fsck", "bytes after the end of a pack")

    def _end(self) -> None:
        with self._errors:
            self._child.communicate()
            check(self._child.returncode, self._errors, "git.fsck")

    def abort(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.communicate()
        self._errors.close()
