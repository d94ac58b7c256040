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
from typing import IO, Any

from pifleet.results.capture.framing import Answer, state_of, text_of
from pifleet.results.capture.history import Histories
from pifleet.results.capture.memory import Memory, UnitMemory
from pifleet.results.capture.packs import Sender
from pifleet.results.capture.place import Place
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.terms import WAIVED
from pifleet.results.capture.tool import Broken, Fatal
from pifleet.results.capture.trees import EMPTY, commit_content
from pifleet.results.capture.unit import Unit
from pifleet.results.capture.workspace import Workspace

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
        self._settings, self._state, self._answer = settings, state, answer
        self._cache = os.path.join(os.path.expanduser("~"), CACHE)
        self._old = Memory.load(self._cache, state)
        self._new = Memory()
        self._sender = Sender(answer, replies, known=self._old.known)
        self._workspace = Workspace(settings, scratch, self._old)
        self._same: list[dict[str, str]] = []  # records that are only needed when another unit has changed

    def run(self) -> None:
        top = self._workspace.root
        if not os.path.isdir(top):
            raise Fatal("capture.workspace", f"there is no folder {self._settings['workspace']}")
        place = self._workspace.place("workspace", top)
        sessions = self._workspace.place("sessions", os.fsencode(self._settings["sessions"]))
        self._workspace.find(place)
        for root in sorted(self._workspace.repositories):
            if root in self._workspace.repositories:
                self._repository(os.path.relpath(root, top), root, place)
        if top not in self._workspace.repositories:
            self._capture("tree", b"workspace", b"", Repository(), place)
        self._capture("tree", b"sessions", b"", Repository(), sessions)
        self._end()

    def _end(self) -> None:
        state = state_of((key, unit.state) for key, unit in self._new.units.items())
        if state == self._state and not self._sender.asked:
            self._answer.record(kind="unchanged")
        else:
            for record in self._same:
                self._answer.record(kind="same", **record)
        self._sender.flush()
        self._answer.end()
        places = self._workspace.places
        if state != self._state or not self._old.known or any(place.watch.read for place in places.values()):
            self._new.apart = self._workspace.apart
            self._new.save(self._cache, state, places)  # while home looks at what came

    def _repository(self, path: bytes, root: bytes, place: Place) -> None:
        """One that git cannot read, or that lacks objects, comes as plain files with a note that says why."""
        at, old = place.at(root), self._old.units.get(f"repo:{text_of(path)}", UnitMemory())
        try:
            repository = self._workspace.opened(root, old)
            with self._histories(repository, old) as histories:
                histories.begin()  # git packs while all else is read
                self._workspace.complete(root, repository, place)
                self._capture("repo", path, at, repository, place, histories)
        except Fatal:
            raise
        except Broken as error:
            self._capture("repo", path, at, Repository.unreadable(error), place)

    def _histories(self, repository: Repository, old: UnitMemory) -> Histories:
        sent = {oid for memory in self._new.units.values() for oid in memory.commits}
        return Histories(repository, {*sent, *(old.commits if self._old.known else ())}, self._sender)

    def _capture(self, kind: str, path: bytes, at: bytes, repository: Repository, place: Place,
                 histories: Histories | None = None) -> None:
        name = {"unit": kind, "path": text_of(path)}
        key = f"{kind}:{text_of(path)}"
        self._answer.doing = f"reading {key.partition(':')[2]}"
        old = self._old.units.get(key, UnitMemory())
        if histories:
            histories.begin()
        unit = self._workspace.unit(place, at, repository, old, self._sender)
        unit.capture()
        if histories:
            histories.begin()
        facts, notes, refs = _facts(unit, repository)
        trees = sorted((part, tree.hex()) for part, tree in unit.trees.items())
        whole = json.dumps([name, facts, notes, refs, sorted(repository.tips), trees])
        state = unit.memory.state = hashlib.sha256(whole.encode()).hexdigest()
        unit.memory.commits = sorted(repository.wanted)
        if histories:
            histories.wait()
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
