"""Owns the course of a pull from when the far end is called: ask, receive, verify, write, commit.
It must not know who may pull, or what a person is told when it ends early."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pifleet.errors import PifleetError, Trouble
from pifleet.results import receipt
from pifleet.results.incoming.transfer import Transfer, capture
from pifleet.results.limits import FULL, Refusal
from pifleet.results.outcome import Item, Pull, Result
from pifleet.results.plain.folder import Folder
from pifleet.results.plain.update import Update
from pifleet.results.store.contents import Contents
from pifleet.results.store.files import Files
from pifleet.results.store.generations import Store
from pifleet.results.store.homegit import HomeGit
from pifleet.results.units import Unit, state_of
from pifleet.stream import Stream

if TYPE_CHECKING:
    from pifleet.results.incoming.reception import Progress

# What came of writing the plain folder: a person's own that stayed, and why it is behind where it is.
_Shown = tuple[tuple[Item, ...], Trouble | None]


@dataclass
class Course:
    """One pull on its way; `received` counts bytes. Whoever runs it holds the sandbox's lock."""

    sandbox: str
    store: Store
    folder: Folder
    started: float
    received: int = 0

    def run(self, stream: Stream, settings: Mapping[str, Any], progress: Progress | None) -> Pull:
        """Raises Refusal; then nothing has changed."""
        try:
            done = self._run(stream, settings, progress)
        except BaseException as error:
            self.store.settle(keep=_broke_off(error))
            raise
        self.store.settle(keep=False)
        return done

    def _run(self, stream: Stream, settings: Mapping[str, Any], progress: Progress | None) -> Pull:
        quarantine, generations = self.store.open(self.folder.repos)
        with closing(self.store.files(quarantine)) as came:
            return self._brought(stream, settings, progress, quarantine, generations, came)

    def _brought(self, stream: Stream, settings: Mapping[str, Any], progress: Progress | None, quarantine: HomeGit,
                 generations: Mapping[int, str], came: Files) -> Pull:
        last = max(generations, default=0)
        told, stored = self.store.receipt(generations[last]) if last else (receipt.NONE, b"")
        old = receipt.units_of(told)
        transfer = Transfer(stream, self.folder.limits)
        units = self._receive(transfer, settings, quarantine, came, old, progress)
        gone, missing = receipt.absent(self.folder.repos, units, told)
        if last and state_of(units) == state_of(old) and (gone, missing) == (told["gone"], told["missing"]):
            transfer.last_words()
            return self._pull("unchanged", last, told, *self._renew(last, units, stored))
        number = max(last, self.folder.number()) + 1
        told, shown = self._land(number, generations.get(last, ""), transfer, quarantine, came, units, gone, missing)
        self.store.lend(units, self.folder.repos)
        return self._pull("new" if told["complete"] else "partial", number, told, *shown)

    def _receive(self, transfer: Transfer, settings: Mapping[str, Any], quarantine: HomeGit, came: Files,
                 old: list[Unit], progress: Progress | None) -> list[Unit]:
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
        arrived = reception.Reception(quarantine, came, self.folder.limits, known, state, answer, progress)
        try:
            for kind, payload in transfer.frames():
                arrived.take(kind, payload, transfer.received)
            arrived.close()
        finally:
            self.received = transfer.received
            arrived.abort()
        return list(arrived.units.values())

    def _land(self, number: int, previous: str, transfer: Transfer, quarantine: HomeGit, came: Files,
              units: list[Unit], gone: list[str], missing: list[str]) -> tuple[dict[str, Any], _Shown]:
        """Everything is decided first; the store's transaction makes it so, and then the plain folder follows."""
        from pifleet.results.incoming import landing

        with Contents(quarantine, self.folder.limits, came) as contents:
            sizes = landing.look(self.store, units, contents)
            with landing.connected(quarantine, units):
                update = self.folder.plan(units, contents)
                self.folder.weigh(update, contents, self.store.git, self.received)
        transfer.last_words()  # only now: the far end keeps its own memory meanwhile
        places = {unit.path: self.folder.place(unit) for unit in units}
        told = receipt.make(self.sandbox, self.store.sandbox_id, number, units, gone=gone, missing=missing,
                            kept=update.kept, places=places, received=self.received)
        data = receipt.stored(told)
        self.store.keep()
        self.store.commit(number, previous, units, data, f"pifleet generation {number} of {self.sandbox}")
        landing.remember(self.store, sizes)
        return told, self._show(number, data, lambda _: update, came)

    def _renew(self, number: int, units: list[Unit], stored: bytes) -> _Shown:
        """Let the plain folder catch up with a stored generation (after a crash, or somebody's tidying)."""
        if self.folder.holds(number):
            return (), None
        return self._show(number, stored, lambda contents: self.folder.plan(units, contents))

    def _show(self, number: int, stored: bytes, plan: Callable[[Contents], Update], came: Files | None = None,
              ) -> _Shown:
        """Whatever goes wrong with plain files is no failure of the pull: the generation is there."""
        try:
            with Contents(self.store.git, self.folder.limits, came) as contents:
                both = self.folder.bring(plan(contents), stored, contents, number)
        except (OSError, Refusal) as error:
            again = f"pifleet pull {self.sandbox}"
            full = isinstance(error, OSError) and error.errno in FULL
            headline = f"generation {number} of {self.sandbox} is in the store, but its plain folder is behind"
            try_ = f"make room in {self.folder.path.parent.parent}, then {again}" if full else again
            return (), Trouble(headline, str(error), str(self.folder.path), try_)
        return tuple(Item(kept.path, kept.reason) for kept in both), None

    def _pull(self, result: Result, number: int, told: dict[str, Any], both: tuple[Item, ...],
              trouble: Trouble | None) -> Pull:
        return Pull(self.sandbox, number, result, time.monotonic() - self.started, self.received,
                    receipt.repos_of(told), receipt.items_of(told["not_written"]),
                    receipt.items_of(told["incomplete"]), both, self.folder.path, trouble)


def _import() -> None:
    """What is heavy to import."""
    from pifleet.results.incoming import landing, reception  # noqa: F401


def _broke_off(error: BaseException) -> bool:
    """Whether an answer ended early and what came of it spares the next one from sending that again."""
    if isinstance(error, Refusal):
        return error.code.startswith(("proto.cut", "proto.exit", "timeout."))
    return isinstance(error, PifleetError | KeyboardInterrupt)
