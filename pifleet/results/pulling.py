"""Owns the course of a pull: lock, ask, receive, verify, write, commit; and what a person is told when it ends early.
It must not know patterns or hosts: a stream is all it gets."""

from __future__ import annotations

import errno
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pifleet.errors import PifleetError, Trouble
from pifleet.results import receipt
from pifleet.results.incoming.program import ARGV
from pifleet.results.incoming.transfer import Transfer, capture
from pifleet.results.limits import Limits, Refusal
from pifleet.results.lock import held
from pifleet.results.outcome import Generation, Item, Pull, Result
from pifleet.results.plain.folder import Folder
from pifleet.results.plain.update import Update
from pifleet.results.store.contents import Contents
from pifleet.results.store.generations import Store
from pifleet.results.store.homegit import HomeGit
from pifleet.results.units import Unit, state_of
from pifleet.stream import Stream

if TYPE_CHECKING:
    from pifleet.results.incoming.reception import Progress

# Ignored folders that a command of the project makes again; everything else that is ignored is work.
WAIVED_FOLDERS = ("node_modules", "__pycache__", ".venv", ".tox", ".nox", ".pytest_cache", ".mypy_cache",
                  ".ruff_cache", ".gradle", ".cache", ".next", ".turbo")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SANDBOX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")

# What came of writing the plain folder: a person's own that stayed, and why it is behind where it is.
_Shown = tuple[tuple[Item, ...], Trouble | None]


@dataclass
class _Course:
    """One pull on its way; `received` counts bytes."""

    sandbox: str
    sandbox_id: str
    store: Store
    folder: Folder
    started: float
    received: int = 0

    def run(self, stream: Stream, settings: Mapping[str, Any], progress: Progress | None) -> Pull:
        """Raises Refusal; then nothing has changed."""
        quarantine, generations = self.store.open(self.folder.repos)
        last = max(generations, default=0)
        told, stored = self.store.receipt(generations[last]) if last else (receipt.NONE, b"")
        old = receipt.units_of(told)
        transfer = Transfer(stream, self.folder.limits)
        units = self._receive(transfer, settings, quarantine, old, progress)
        gone, missing = receipt.absent(self.folder.repos, units, told)
        if last and state_of(units) == state_of(old) and (gone, missing) == (told["gone"], told["missing"]):
            transfer.last_words()
            return self._pull("unchanged", last, told, *self._renew(last, units, stored))
        number = max(last, self.folder.number()) + 1
        told, shown = self._land(number, generations.get(last, ""), transfer, quarantine, units, gone, missing)
        self.store.lend(units, self.folder.repos)
        return self._pull("new" if told["complete"] else "partial", number, told, *shown)

    def _receive(self, transfer: Transfer, settings: Mapping[str, Any], quarantine: HomeGit, old: list[Unit],
                 progress: Progress | None) -> list[Unit]:
        def answer(remembered: bool) -> None:
            if not told:
                transfer.reply([] if remembered else self.store.have(old), self.store.held())

        state = state_of(old)
        transfer.ask(capture(settings), state, first=not old)
        told = not old and transfer.reply_early(self.store.have(old), self.store.held())
        threading.Thread(target=_import, daemon=True).start()  # while the far end begins
        transfer.provide()
        from pifleet.results.incoming import reception

        known = {unit.key: unit for unit in old}
        arrived = reception.Reception(quarantine, self.folder.limits, known, state, answer, progress)
        try:
            for kind, payload in transfer.frames():
                arrived.take(kind, payload, transfer.received)
            arrived.close()
        finally:
            self.received = transfer.received
            arrived.abort()
        return list(arrived.units.values())

    def _land(self, number: int, previous: str, transfer: Transfer, quarantine: HomeGit, units: list[Unit],
              gone: list[str], missing: list[str]) -> tuple[dict[str, Any], _Shown]:
        """Everything is decided first; the store's transaction makes it so, and then the plain folder follows."""
        from pifleet.results.incoming import landing

        with Contents(quarantine, self.folder.limits) as contents:
            sizes = landing.look(self.store, units, contents)
            with landing.connected(quarantine, units):
                update = self.folder.plan(units, contents)
                self.folder.weigh(update, contents, self.store.git, self.received)
        transfer.last_words()  # only now: the far end keeps its own memory meanwhile
        places = {unit.path: self.folder.place(unit) for unit in units}
        told = receipt.make(self.sandbox, self.sandbox_id, number, units, gone=gone, missing=missing,
                            kept=update.kept, places=places, received=self.received)
        data = receipt.stored(told)
        self.store.keep()
        self.store.commit(number, previous, units, data, f"pifleet generation {number} of {self.sandbox}")
        landing.remember(self.store, sizes)
        return told, self._show(number, data, lambda _: update)

    def _renew(self, number: int, units: list[Unit], stored: bytes) -> _Shown:
        """Let the plain folder catch up with a stored generation (after a crash, or somebody's tidying)."""
        if self.folder.holds(number):
            return (), None
        return self._show(number, stored, lambda contents: self.folder.plan(units, contents))

    def _show(self, number: int, stored: bytes, plan: Callable[[Contents], Update]) -> _Shown:
        """Whatever goes wrong with plain files is no failure of the pull: the generation is there."""
        try:
            with Contents(self.store.git, self.folder.limits) as contents:
                both = self.folder.bring(plan(contents), stored, contents, number)
        except (OSError, Refusal) as error:
            again = f"pifleet pull {self.sandbox}"
            full = isinstance(error, OSError) and error.errno in _FULL
            headline = f"generation {number} of {self.sandbox} is in the store, but its plain folder is behind"
            try_ = f"make room in {self.folder.path.parent.parent}, then {again}" if full else again
            return (), Trouble(headline, str(error), str(self.folder.path), try_)
        return tuple(Item(kept.path, kept.reason) for kept in both), None

    def _pull(self, result: Result, number: int, told: dict[str, Any], both: tuple[Item, ...],
              trouble: Trouble | None) -> Pull:
        return Pull(self.sandbox, number, result, time.monotonic() - self.started, self.received,
                    receipt.repos_of(told), receipt.items_of(told["not_written"]),
                    receipt.items_of(told["incomplete"]), both, self.folder.path, trouble)

    def ended(self, refusal: Refusal) -> Pull:
        """What a person is told: nothing landed, why, and what to do."""
        word: Result = "refused" if refusal.hostile else "failed"
        tries = {"busy": "wait until that pull has ended", "io.space": f"make room in {self.folder.path.parent.parent}"}
        trouble = Trouble(f"pull of {self.sandbox} {word}, nothing was changed at home", f"{refusal.code}: {refusal}",
                          refusal.where or self.sandbox, tries.get(refusal.code, f"pifleet pull {self.sandbox}"))
        refused = (Item(refusal.where or self.sandbox, refusal.code),) if refusal.hostile else ()
        return Pull(self.sandbox, None, word, time.monotonic() - self.started, self.received, refused=refused,
                    trouble=trouble)


def pull(open_stream: Callable[[Sequence[str]], Stream], *, sandbox: str, sandbox_id: str, repos: Sequence[str],
         store: Path, workspace: str = "/workspace", sessions: str = "/home/pi/.pi/agent/sessions",
         artifacts: Sequence[str] = (), limits: Limits | None = None, progress: Progress | None = None) -> Pull:
    """Bring home what a sandbox holds, as one new generation or not at all.

    `open_stream` starts an argument list inside the sandbox as its user. `sandbox` is "developer/name", `repos` the
    names of the repositories that should be in `workspace`, `store` the folder of all results, `artifacts` patterns of
    ignored files that are wanted (relative to `workspace`, `**` for any number of folders). `progress` is called
    with what is being received and the bytes so far. Never raises for anything that the sandbox, a connection or a
    disk did: then `result` is "refused" or "failed" and `trouble` says why. Raises ValueError for names that are none.
    """
    if not _SANDBOX.fullmatch(sandbox) or ".." in sandbox:
        raise ValueError(f"not developer/name: {sandbox!r}")
    limits = limits or Limits()
    folder = _folder(store, sandbox, sandbox_id, repos, limits)
    course = _Course(sandbox, sandbox_id, Store(store, sandbox_id, limits), folder, time.monotonic())
    settings = capture_settings(workspace, sessions, artifacts, limits)
    try:
        _private(store)
        _private(store / ".store")
        with held(store / ".store" / f"{sandbox_id}.lock"):
            try:
                with closing(open_stream(ARGV)) as stream:
                    done = course.run(stream, settings, progress)
            except BaseException as error:
                course.store.settle(keep=_broke_off(error))
                raise
            course.store.settle(keep=False)
            return done
    except Refusal as refusal:
        return course.ended(refusal)
    except PifleetError as error:
        return Pull(sandbox, None, "failed", time.monotonic() - course.started, course.received, trouble=error.trouble)
    except OSError as error:
        return course.ended(Refusal("io.space" if error.errno in _FULL else "io.failed", str(error)))


def capture_settings(workspace: str, sessions: str, artifacts: Sequence[str], limits: Limits) -> dict[str, Any]:
    """The settings of capture/agent.py."""
    return {"workspace": workspace, "sessions": sessions, "artifacts": list(artifacts),
            "waived": list(WAIVED_FOLDERS), "files": limits.files, "file": limits.file,
            "ignored_files": limits.ignored_files, "ignored_bytes": limits.ignored_bytes}


def _import() -> None:
    """What is heavy to import."""
    from pifleet.results.incoming import landing, reception  # noqa: F401


def _broke_off(error: BaseException) -> bool:
    """Whether an answer ended early and what came of it spares the next one from sending that again."""
    if isinstance(error, Refusal):
        return error.code.startswith(("proto.cut", "proto.exit", "timeout."))
    return isinstance(error, PifleetError | KeyboardInterrupt)


def _private(folder: Path) -> None:
    """Session logs hold secrets, so results are their owner's only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def list_generations(store: Path, sandbox_id: str) -> list[Generation]:
    """Every generation of a sandbox, oldest first, from the store alone. Raises PifleetError when it is damaged."""
    kept = Store(store, sandbox_id, Limits())
    try:
        receipts = list(kept.receipts())
    except Refusal as refusal:
        raise PifleetError(f"the store of {sandbox_id} is damaged", saw=str(refusal), where=str(kept.folder)) from None
    return [_generation(told, _path_of(store, sandbox_id, told) if told is receipts[-1] else None) for told in receipts]


def _generation(told: dict[str, Any], path: Path | None) -> Generation:
    return Generation(told["generation"], told["created"], told["complete"], told["sandbox"], receipt.repos_of(told),
                      receipt.items_of(told["incomplete"]), path)


def _path_of(store: Path, sandbox_id: str, told: dict[str, Any]) -> Path | None:
    """The plain folder, where it is that of this receipt."""
    folder = _folder(store, told["sandbox"], sandbox_id, (), Limits())
    return folder.path if folder.holds(told["generation"]) else None


def _folder(store: Path, sandbox: str, sandbox_id: str, repos: Sequence[str], limits: Limits) -> Folder:
    return Folder(store.joinpath(*sandbox.split("/")), store / ".store" / f"{sandbox_id}.folder", repos, limits)
