"""Owns the course of a capture: every repository below the workspace, what lies beside them, the session logs.
It must not know how an object is made or a frame is written.

The request is one line of JSON on standard input: `workspace` and `sessions` (folders), `state` (unit -> digest of what
home holds), `have` (ids of objects home holds), `waived` (names of ignored folders that need not be saved), and the
limits `files`, `file`, `ignored_files`, `ignored_bytes`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

from pifleet.results.capture.bench import Bench
from pifleet.results.capture.framing import Answer, text_of
from pifleet.results.capture.repository import WAIVED, Repository
from pifleet.results.capture.tool import Broken, Fatal, git
from pifleet.results.capture.unit import DEPTH, Unit

SCRATCH = ".pifleet-pull-"
COMMITS = ("snapshot", "index", "ignored", "operation", "tips")
_NOTES = 1000
_STASHES = 500
_STALE_SECONDS = 6 * 3600


class Capture:
    """One answer to one request; `scratch` is an empty private folder."""

    def __init__(self, request: dict[str, Any], answer: Answer, scratch: bytes) -> None:
        self._request, self._answer, self._scratch = request, answer, scratch
        self._workspace = os.path.normpath(os.fsencode(request["workspace"]))
        self._have: list[str] = list(request["have"])
        self._repositories: dict[bytes, tuple[bytes, bool]] = {}  # folder -> git directory, bare
        self._seen = 0

    def run(self) -> None:
        if not os.path.isdir(self._workspace):
            raise Fatal("capture.workspace", f"there is no folder {self._request['workspace']}")
        self._find(self._workspace, 0)
        for root in sorted(self._repositories):
            if root in self._repositories:
                self._repository(os.path.relpath(root, self._workspace), root)
        if self._workspace not in self._repositories:
            self._send("tree", b"workspace", self._workspace, Repository())
        self._send("tree", b"sessions", os.fsencode(self._request["sessions"]), Repository())
        self._answer.end()

    def _find(self, folder: bytes, depth: int) -> None:
        try:
            children = list(os.scandir(folder))
        except OSError:
            return  # the walk of the unit that holds it says so
        self._seen += len(children)
        if self._seen > self._request["files"]:
            raise Fatal("limit.files", f"more than {self._request['files']} files in the workspace")
        names = {child.name for child in children}
        if b".git" in names:
            self._repositories[folder] = (os.path.join(folder, b".git"), False)
        elif {b"HEAD", b"objects", b"refs"} <= names and git(folder, "rev-parse", "--git-dir", may_fail=True):
            self._repositories[folder] = (folder, True)
            return
        for child in children:
            if child.is_dir(follow_symlinks=False) and child.name != b".git" and depth < DEPTH:
                self._find(child.path, depth + 1)

    def _repository(self, path: bytes, root: bytes) -> None:
        """One that git cannot read, or that lacks objects, is told as failed, and its files come as they are."""
        try:
            git_dir, bare = self._repositories[root]
            repository = Repository.read(git_dir, root, bare, self._workspace)
            self._adopt_tracked(root, repository)
            self._send("repo", path, root, repository)
        except Fatal:
            raise
        except Broken as error:
            self._answer.record(kind="failed", path=text_of(path), text=str(error)[:1000])
            plain = Repository()
            plain.notes.append((b".git", error.reason, 0))
            self._send("repo", path, root, plain)

    def _adopt_tracked(self, root: bytes, repository: Repository) -> None:
        """A tracked folder that looks like a bare repository (a test's data, say) is content of its tracker."""
        for folder in [folder for folder, (_, bare) in self._repositories.items() if bare]:
            prefix = os.path.relpath(folder, root) + b"/"
            if any(path.startswith(prefix) for _, _, (_, _, path) in repository.index):
                del self._repositories[folder]

    def _send(self, kind: str, path: bytes, root: bytes, repository: Repository) -> None:
        bench = Bench(os.path.join(self._scratch, b"bench"), repository.objects)
        try:
            unit = Unit(root, repository, set(self._repositories), self._request, bench)
            if os.path.isdir(root):
                unit.capture()
            else:
                bench.commit("snapshot", [], [])
            self._tell(kind, path, unit, repository, bench)
        finally:
            bench.close()

    def _tell(self, kind: str, path: bytes, unit: Unit, repository: Repository, bench: Bench) -> None:
        made = bench.finish()
        lost = [note for note in unit.notes if note[1] not in WAIVED]
        listed = [*lost, *(note for note in unit.notes if note[1] in WAIVED)][:_NOTES]
        name = {"unit": kind, "path": text_of(path)}
        facts = {"head_ref": repository.head_ref, "head": repository.head, "stashes": repository.stashes[:_STASHES],
                 "operation_name": repository.operation, "files": unit.files, "bytes": unit.bytes,
                 "more": max(0, len(lost) - _NOTES)}
        notes = [[text_of(where), reason, size] for where, reason, size in listed]
        refs = sorted(repository.refs.items())
        trees = sorted((what, tree) for what, (_, tree) in made.items())
        whole = json.dumps([name, facts, notes, refs, sorted(repository.tips), trees], sort_keys=True)
        state = hashlib.sha256(whole.encode()).hexdigest()
        if self._request["state"].get(f"{kind}:{text_of(path)}") == state:
            self._answer.record(kind="same", state=state, **name)
            return
        commits = {what: made[what][0] if what in made else "" for what in COMMITS}
        self._answer.record(kind="unit", state=state, **name, **facts, **commits)
        self._answer.records("refs", refs)
        self._answer.records("notes", notes)
        wanted = sorted({oid for oid in (*commits.values(), repository.head, *repository.refs.values()) if oid})
        bench.send(wanted, self._have, self._answer)
        self._answer.record(kind="done", path=text_of(path))
        self._have += wanted  # the units after this one may lean on it


def _scratch_parent(workspace: str) -> str:
    """The roomiest place of our own: /tmp is often memory, the home usually disk."""
    places = {os.path.expanduser("~"), "/tmp", "/var/tmp"}  # noqa: S108 mkdtemp makes it private
    outside = [place for place in places if not f"{place}/".startswith(f"{workspace}/")]
    fit = [place for place in outside if os.access(place, os.W_OK | os.X_OK)]
    if not fit:
        raise Fatal("capture.tool", "no writable home or /tmp")
    return max(fit, key=lambda place: os.statvfs(place).f_bavail * os.statvfs(place).f_frsize)


def _scratch(workspace: str) -> str:
    """A new private folder; what a capture that was killed left there long ago goes."""
    parent = _scratch_parent(workspace)
    for child in os.scandir(parent):
        if child.name.startswith(SCRATCH) and time.time() - child.stat(follow_symlinks=False).st_mtime > _STALE_SECONDS:
            shutil.rmtree(child.path, ignore_errors=True)
    return tempfile.mkdtemp(prefix=SCRATCH, dir=parent)


def main() -> int:
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the scratch folder goes too
    request = json.loads(sys.stdin.buffer.readline())
    scratch = ""
    try:
        answer = Answer(sys.stdout.buffer)
        try:
            if not shutil.which("git"):
                raise Fatal("capture.tool", "git is not installed")
            scratch = _scratch(request["workspace"])
            Capture(request, answer, os.fsencode(scratch)).run()
        except Broken as error:
            answer.record(kind="fatal", reason=error.reason, text=str(error)[:1000])
            return 1
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
