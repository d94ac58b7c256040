"""Owns the course of a return inside a sandbox: one unit after the other, each looked at, received and put into place.
It must not know how any of these is done.

`main` gets the settings of a capture and `idle`, seconds that home may be silent; the request is JSON: `generation`, a
number, and `force`. Home sends a record `unit`; the answer is `put` with what became of it, or `ready`, upon which
its history and its content follow as packs (plain folders have no history). `end` ends it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
from typing import IO, Any

from pifleet.results.capture.agent import scratch_parent
from pifleet.results.capture.framing import Answer, text_of
from pifleet.results.capture.repository import Repository
from pifleet.results.capture.tool import Broken, Fatal
from pifleet.results.outgoing.inside import making
from pifleet.results.outgoing.inside.beside import Beside
from pifleet.results.outgoing.inside.content import Content, borrow
from pifleet.results.outgoing.inside.history import present
from pifleet.results.outgoing.inside.look import Look, Seen
from pifleet.results.outgoing.inside.placing import Declined, Place
from pifleet.results.outgoing.inside.pristine import own_commit, own_work
from pifleet.results.outgoing.inside.receiving import Cut, Incoming

SCRATCH = ".pifleet-return-"
_KEPT = 1000


class Return:
    """One return; `scratch` is an empty private folder."""

    def __init__(self, settings: dict[str, Any], request: dict[str, Any], answer: Answer, replies: IO[bytes],
                 scratch: bytes) -> None:
        self._generation, self._force = int(request["generation"]), bool(request["force"])
        self._answer, self._incoming = answer, Incoming(replies, int(settings["idle"]))
        self._look = Look(settings, answer, replies, scratch)
        self._sessions = os.fsencode(settings["sessions"])
        self._received = os.path.join(scratch, b"received")

    def run(self) -> None:
        while (told := self._incoming.record())["kind"] == "unit":
            path = told["path"].encode("latin-1")
            self._answer.doing = f"putting back {told['path']}"
            try:
                result = self._files(path, told) if told["plain"] else self._repository(path, told)
            except Declined as reason:
                result = {"result": "refused", "reason": str(reason)}
            except (Broken, OSError) as error:
                result = {"result": "failed", "reason": str(error)}
            finally:
                shutil.rmtree(self._received, ignore_errors=True)
            self._tell(told["path"], **result)

    def _tell(self, path: str, result: str, reason: str = "", files: int = 0, aside: bytes = b"", fresh: bool = False,
              kept: list[tuple[bytes, str]] | None = None) -> None:
        listed = [(text_of(name), why) for name, why in kept or []]
        self._answer.records("kept", listed[:_KEPT])
        self._answer.record(kind="put", path=path, result=result, reason=reason[:900], files=files, fresh=fresh,
                            aside=text_of(os.path.relpath(aside, self._look.workspace)) if aside else "",
                            more=max(0, len(listed) - _KEPT))

    def _receive(self, path: str, have: list[str], git_dir: bytes = b"") -> bytes:
        """Ask for a unit's packs; returns the repository in which its content is. Raises Broken, Cut."""
        making.init(self._received, bare=True)
        self._answer.records("have", have)
        self._answer.record(kind="ready", path=path)
        trouble: Broken | None = None
        for target in (git_dir, self._received) if git_dir else (self._received,):
            try:
                self._incoming.pack(target)
            except Broken as error:
                trouble = trouble or error
        if trouble:
            raise trouble
        if git_dir:
            borrow(self._received, git_dir)
        return self._received

    def _files(self, path: bytes, told: dict[str, Any]) -> dict[str, Any]:
        """A plain folder, and what a repository that could not be read came home as."""
        if told["unit"] == "tree":
            root = {b"workspace": self._look.workspace, b"sessions": self._sessions}[path]
        else:
            place = Place(self._look, path)
            place.prepare()
            root = place.target
        seen = self._look.folder(root)
        if seen.trees == told["trees"]:
            return {"result": "equal"}
        beside = Beside(root, self._look.repositories, self._generation, force=self._force)
        with Content(self._receive(told["path"], []), told["trees"]) as content:
            beside.put(content.entries(*making.FILES), content)
        return {"result": "restored" if beside.written else "equal", "files": beside.written, "kept": beside.kept}

    def _repository(self, path: bytes, told: dict[str, Any]) -> dict[str, Any]:
        place = Place(self._look, path)
        place.prepare()
        seen = self._look.repository(path)
        if seen and seen.equals(told):
            return {"result": "equal"}
        work = self._own(place, seen, told)
        base = seen if not work else None
        if work and (place.top or not self._force):
            raise Declined(work)
        try:
            return self._made(place, base, told)
        finally:
            place.discard()

    def _own(self, place: Place, seen: Seen | None, told: dict[str, Any]) -> str:
        """What of that which is in a place is somebody's, in words; "" where nothing is."""
        if seen and place.top:
            return "the workspace itself is a repository, and is not as the stored one"
        if seen and seen.repository.bare != told["bare"]:
            return "it is a bare repository, or should be one"
        if seen:
            return own_work(seen)
        return "" if place.free() or place.top else "there is a file, or a folder that is not empty"

    def _made(self, place: Place, base: Seen | None, told: dict[str, Any]) -> dict[str, Any]:
        git_dir = making.seed(place.making, base, bare=told["bare"])
        have = present(git_dir, base.commits) if base else []
        received = self._receive(told["path"], have, git_dir)
        foreign = own_commit(base, git_dir, told) if base else ""
        if foreign and not self._force:
            raise Declined(f"it has a commit of its own, {foreign}")
        with Content(received, told["trees"]) as content:
            before = base.repository if base else Repository()
            files = making.fill(place.making, git_dir, told, content, before)
        aside = b""
        if base and not foreign:
            place.replace(base)
        elif place.free() or place.top:
            place.put()
        else:
            aside = place.put_instead(self._generation)
        return {"result": "restored", "files": files, "aside": aside, "fresh": not base}


def main(settings: dict[str, Any], request: str, replies: IO[bytes], out: IO[bytes]) -> int:
    """The exit code of the program."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was begun goes too
    scratch = ""
    answer = Answer(out)
    try:
        try:
            lock = _locked(settings["workspace"])
            scratch = _scratch(settings["workspace"])
            Return(settings, json.loads(request), answer, replies, os.fsencode(scratch)).run()
            os.close(lock)
        except Broken as error:
            answer.record(kind="fatal", reason=error.reason, text=str(error)[:1000])
            return 1
        answer.end()
        return 0
    except Cut as error:
        sys.stderr.write(f"{error}\n")
        return 3
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch(workspace: str) -> str:
    """A new private folder; what a return that was killed left goes, since only one works in a workspace."""
    name = SCRATCH + hashlib.sha256(os.fsencode(workspace)).hexdigest()[:16]
    for place in (os.path.expanduser("~"), "/tmp", "/var/tmp"):  # noqa: S108 where it may have been
        shutil.rmtree(os.path.join(place, name), ignore_errors=True)
    scratch = os.path.join(scratch_parent(workspace), name)
    os.mkdir(scratch, 0o700)
    return scratch


def _locked(workspace: str) -> int:
    """Only one return works in a workspace; the kernel frees the lock when its holder dies. Raises Fatal."""
    if not shutil.which("git"):
        raise Fatal("capture.tool", "git is not installed")
    try:
        folder = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Fatal("busy", "another generation is being put into this sandbox") from None
    except OSError:
        raise Fatal("capture.workspace", f"there is no folder {workspace}") from None
    return folder
