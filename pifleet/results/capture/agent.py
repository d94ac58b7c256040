"""Owns the course of a capture: every repository below the workspace, what lies beside them, the session logs.
It must not know how an object is made or a frame is written.

`main` gets the settings: `workspace` and `sessions` (folders), `artifacts` (patterns), `waived` (names of ignored
folders that need not be saved), and the limits `files`, `file`, `ignored_files`, `ignored_bytes`. The request is the
digest of the state that home holds. Standard input brings the answer to the one question that is asked: what of
histories home has, and which objects of an earlier, broken answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from typing import IO, Any

from pifleet.results.capture.artifacts import Patterns
from pifleet.results.capture.framing import Answer, state_of, text_of
from pifleet.results.capture.history import History
from pifleet.results.capture.memory import Memory, UnitMemory
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.place import Place, PlaceMemory
from pifleet.results.capture.repository import WAIVED, Repository
from pifleet.results.capture.tool import Broken, Fatal, git
from pifleet.results.capture.trees import EMPTY, commit_content
from pifleet.results.capture.unit import Unit
from pifleet.results.capture.watch import YOUNG_NS, private_git

SCRATCH = ".pifleet-pull-"
CACHE = ".cache/pifleet/results"
_NOTES = 1000
_STASHES = 500
_UPSTREAM = 500
_TIPS = 200
_STALE_SECONDS = 6 * 3600


class Capture:
    """One answer to one request; `scratch` is an empty private folder."""

    def __init__(self, settings: dict[str, Any], state: str, answer: Answer, replies: IO[bytes],
                 scratch: bytes) -> None:
        self._settings, self._state, self._answer, self._scratch = settings, state, answer, scratch
        self._workspace = os.path.normpath(os.fsencode(settings["workspace"]))
        self._cache = os.path.join(os.path.expanduser("~"), CACHE)
        self._patterns = Patterns(self._workspace, settings["artifacts"])
        self._old = Memory.load(self._cache, state)
        self._new = Memory()
        self._sender = Sender(answer, replies, known=self._old.known)
        self._private = private_git(scratch)
        self._young = time.time_ns() - YOUNG_NS
        self._places: dict[str, Place] = {}
        self._repositories: dict[bytes, tuple[bytes, bool]] = {}  # folder -> git directory, bare
        self._same: list[dict[str, str]] = []  # records that are only needed when another unit has changed

    def run(self) -> None:
        if not os.path.isdir(self._workspace):
            raise Fatal("capture.workspace", f"there is no folder {self._settings['workspace']}")
        workspace = self._looked("workspace", self._workspace)
        sessions = self._looked("sessions", os.fsencode(self._settings["sessions"]))
        self._find(workspace)
        for root in sorted(self._repositories):
            if root in self._repositories:
                self._repository(os.path.relpath(root, self._workspace), root, workspace)
        if self._workspace not in self._repositories:
            self._capture("tree", b"workspace", b"", Repository(), workspace)
        self._capture("tree", b"sessions", b"", Repository(), sessions)
        self._end()

    def _looked(self, name: str, root: bytes) -> Place:
        old = self._old.places.get(name, PlaceMemory())
        self._places[name] = Place(root, old, self._private, self._young, self._settings["files"])
        return self._places[name]

    def _end(self) -> None:
        state = state_of((key, unit.state) for key, unit in self._new.units.items())
        if state == self._state and not self._sender.asked:
            self._answer.record(kind="unchanged")
        else:
            for record in self._same:
                self._answer.record(kind="same", **record)
        self._sender.flush()
        if state != self._state or not self._old.known or any(place.watch.read for place in self._places.values()):
            self._new.save(self._cache, state, self._places)
        self._answer.end()

    def _find(self, place: Place) -> None:
        """All repositories; what lies in a bare one is its own."""
        survey, bare = place.survey, b"\n"
        for path, folder in survey.folders.items():
            full = survey.full(path)
            if path.startswith(bare):
                continue
            if folder.git == b"g":
                self._repositories[full] = (os.path.join(full, b".git"), False)
            elif folder.git == b"b" and git(full, "rev-parse", "--git-dir", may_fail=True):
                self._repositories[full] = (full, True)
                bare = path + b"/"
        self._new.apart = {place.at(full) for full in self._repositories}
        for path in self._new.apart ^ self._old.apart:
            survey.soil_below(path)

    def _repository(self, path: bytes, root: bytes, place: Place) -> None:
        """One that git cannot read, or that lacks objects, comes as plain files with a note that says why."""
        git_dir, bare = self._repositories[root]
        at = place.at(root)
        scratch = os.path.join(self._scratch, b"repository")
        os.mkdir(scratch)
        try:
            old = self._old.units.get(f"repo:{text_of(path)}", UnitMemory())
            repository = Repository.read(git_dir, root, bare, self._workspace, scratch, old, self._young,
                                         lambda: place.renamed(at))
            self._adopt_tracked(root, repository, place)
            self._capture("repo", path, at, repository, place)
        except Fatal:
            raise
        except Broken as error:
            plain = Repository()
            plain.notes.append((b".git", error.reason, 0))
            self._capture("repo", path, at, plain, place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _adopt_tracked(self, root: bytes, repository: Repository, place: Place) -> None:
        """A tracked folder that looks like a bare repository (a test's data, say) is content of its tracker."""
        for folder in [folder for folder, (_, bare) in self._repositories.items() if bare]:
            if folder.startswith(root + b"/") and repository.tracked(os.path.relpath(folder, root)):
                del self._repositories[folder]
                self._new.apart.remove(place.at(folder))
                place.survey.soil_below(place.at(folder))

    def _capture(self, kind: str, path: bytes, at: bytes, repository: Repository, place: Place) -> None:
        name = {"unit": kind, "path": text_of(path)}
        key = f"{kind}:{text_of(path)}"
        self._answer.doing = f"reading {key.partition(':')[2]}"
        old = self._old.units.get(key, UnitMemory())
        wanted = {repository.head, *repository.refs.values(), *repository.tips, *repository.staged} - {""}
        with self._history(repository, wanted, old) as history:
            unit = Unit(place, at, repository, set(self._repositories), self._settings, old, self._old,
                        self._sender, self._patterns)
            unit.capture()
            facts, notes, refs = _facts(unit, repository)
            trees = sorted((part, tree.hex()) for part, tree in unit.trees.items())
            whole = json.dumps([name, facts, notes, refs, sorted(repository.tips), trees])
            state = unit.memory.state = hashlib.sha256(whole.encode()).hexdigest()
            unit.memory.commits = sorted(wanted)
            if history:
                history.send()
        if old.state == state and self._old.known:
            self._same.append({**name, "state": state})
        else:
            for oid, content in unit.new_trees:
                self._sender.add("tree", content, oid)
            commits = self._commits(unit, repository)
            self._answer.record(kind="unit", state=state, **name, **facts, **commits)
            self._answer.records("refs", refs)
            self._answer.records("notes", notes)
            self._answer.record(kind="done", path=text_of(path))
        self._new.units[key] = unit.memory

    def _history(self, repository: Repository, wanted: set[str], old: UnitMemory) -> AbstractContextManager[Any]:
        """What home lacks of it, already in the making; or nothing."""
        known = set(old.commits) if self._old.known else set()
        if not wanted - known:
            return contextlib.nullcontext()
        sent = {oid for memory in self._new.units.values() for oid in memory.commits}
        return History(repository, wanted, known | sent, self._sender)

    def _commits(self, unit: Unit, repository: Repository) -> dict[str, str]:
        """`snapshot` has HEAD and, where it differs, the index as its parents; `tips` leads to all lost commits."""
        made = dict.fromkeys(("snapshot", "index", "ignored", "artifacts", "blocks", "operation", "tips"), "")

        def commit(part: str, tree: bytes, parents: list[str]) -> None:
            made[part] = self._sender.make("commit", commit_content(tree, parents, part)).hex()

        head = [repository.head] if repository.head else []
        for part, tree in sorted(unit.trees.items()):  # the index before the snapshot
            parents = {"index": head, "snapshot": [*head, *filter(None, [made["index"]])]}
            commit(part, tree, parents.get(part, []))
        tips = sorted(repository.tips)
        if tips:
            self._sender.add("tree", b"", EMPTY)
        for at in range(0, len(tips), _TIPS):
            commit("tips", EMPTY, [*filter(None, [made["tips"]]), *tips[at : at + _TIPS]])
        self._sender.flush()
        return made


def _facts(unit: Unit, repository: Repository) -> tuple[dict[str, Any], list[Any], list[tuple[str, str]]]:
    """The unit's facts, its notes (those that mean a loss first) and refs, as they are told."""
    lost = [note for note in unit.notes if note[1] not in WAIVED]
    listed = [*lost, *(note for note in unit.notes if note[1] in WAIVED)][:_NOTES]
    facts = {"head_ref": repository.head_ref, "head": repository.head, "stashes": repository.stashes[:_STASHES],
             "upstream": sorted(repository.upstream)[:_UPSTREAM], "operation_name": repository.operation,
             "files": unit.files, "bytes": unit.bytes,
             "more": max(0, len(lost) - _NOTES)}
    return facts, [[text_of(where), reason, size] for where, reason, size in listed], sorted(repository.refs.items())


def scratch_parent(workspace: str) -> str:
    """The roomiest place of our own: /tmp is often memory, the home usually disk."""
    places = (os.path.expanduser("~"), "/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 mkdtemp makes it private
    outside = [place for place in places if not f"{place}/".startswith(f"{workspace}/")]
    fit = [place for place in outside if os.access(place, os.W_OK | os.X_OK)]
    if not fit:
        raise Fatal("capture.tool", "no writable home, /tmp or /dev/shm")
    return max(fit, key=lambda place: os.statvfs(place).f_bavail * os.statvfs(place).f_frsize)


def _scratch(workspace: str) -> str:
    """A new private folder; what a capture that was killed left there long ago goes."""
    parent = scratch_parent(workspace)
    for child in os.scandir(parent):
        with contextlib.suppress(OSError):  # another capture's, which has just ended
            old = time.time() - child.stat(follow_symlinks=False).st_mtime > _STALE_SECONDS
            if child.name.startswith(SCRATCH) and old:
                shutil.rmtree(child.path, ignore_errors=True)
    return tempfile.mkdtemp(prefix=SCRATCH, dir=parent)


def main(settings: dict[str, Any], request: str, replies: IO[bytes], out: IO[bytes]) -> int:
    """The exit code of the program."""
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the scratch folder goes too
    scratch = ""
    try:
        answer = Answer(out)
        try:
            if not shutil.which("git"):
                raise Fatal("capture.tool", "git is not installed")
            scratch = _scratch(settings["workspace"])
            Capture(settings, request, answer, replies, os.fsencode(scratch)).run()
        except Broken as error:
            answer.record(kind="fatal", reason=error.reason, text=str(error)[:1000])
            return 1
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
