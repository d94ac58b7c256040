"""Owns the course of a return at home: what is chosen, told and sent, and what the far end's answers come to.
It must not know patterns or hosts: a stream is all it gets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pifleet.errors import BadInput, Mistake, PifleetError, Trouble
from pifleet.results.choosing import Chosen, choose
from pifleet.results.incoming.program import ARGV
from pifleet.results.incoming.records import Alive
from pifleet.results.limits import Limits, Refusal
from pifleet.results.lock import held
from pifleet.results.names import said, shown
from pifleet.results.outcome import Item
from pifleet.results.outgoing import records
from pifleet.results.outgoing.outcome import PutBack, UnitPut
from pifleet.results.outgoing.sending import Sending, returning
from pifleet.results.outgoing.telling import Told
from pifleet.results.pulling import capture_settings
from pifleet.results.units import Unit
from pifleet.stream import Stream

Progress = Callable[[str, int], None]


class _Course:
    """One return on its way; `done` is what became of the units so far, in their order."""

    def __init__(self, chosen: Chosen, units: list[Unit], limits: Limits, progress: Progress | None) -> None:
        self._chosen, self._units, self._limits, self._progress = chosen, units, limits, progress
        self._doing = "looking"
        self.done: list[UnitPut] = []
        self.sent = 0

    def run(self, stream: Stream, settings: dict[str, Any], *, force: bool) -> None:
        """Raises Refusal when the answer is turned down or ends early."""
        sending = Sending(stream, self._limits)
        request = json.dumps({"generation": self._chosen.number, "force": force})
        sending.ask(returning(settings), request)
        sending.provide()
        replies = sending.replies()
        for unit in self._units:
            told = Told(self._chosen.store.git, unit)
            self._doing = f"putting back {shown(unit.path)}"
            sending.record(**told.record())
            self.done.append(self._unit(told, sending, replies))
        sending.record(kind="end")
        for reply in replies:
            if not isinstance(reply, Alive):
                raise _unexpected(reply)

    def _unit(self, told: Told, sending: Sending, replies: Iterator[records.AnyRecord]) -> UnitPut:
        have: list[str] = []
        kept: list[Item] = []
        for reply in replies:
            self._tell(sending.sent)
            match reply:
                case Alive():
                    pass
                case records.Have():
                    have += reply.items
                case records.Ready() if reply.path.encode("latin-1") == told.unit.path:
                    for pack in told.packs(have):
                        for sent in sending.pack(pack):
                            self._tell(sent)
                case records.Kept():
                    kept += [Item(shown(path.encode("latin-1")), said(why)) for path, why in reply.items]
                case records.Put() if reply.path.encode("latin-1") == told.unit.path:
                    return _unit_put(told.unit, reply, kept)
                case records.Fatal():
                    raise Refusal(reply.reason, f"the return gave up: {said(reply.text)}")
                case _:
                    raise _unexpected(reply)
        raise Refusal("proto.schema", f"the answer ended before {shown(told.unit.path)}")

    def _tell(self, sent: int) -> None:
        self.sent = sent
        if self._progress:
            self._progress(self._doing, sent)


def _unexpected(reply: records.AnyRecord) -> Refusal:
    return Refusal("proto.schema", f"a record of kind {reply.kind} out of order")


def _unit_put(unit: Unit, reply: records.Put, kept: list[Item]) -> UnitPut:
    left = tuple(Item(shown(path) or ".", reason) for path, reason, _ in unit.notes)
    more = [Item(f"{reply.more} more", "not listed")] if reply.more else []
    return UnitPut(shown(unit.path), reply.result, said(reply.reason), reply.files,
                   shown(reply.aside.encode("latin-1")), reply.fresh, tuple(kept + more), left)


def _wanted(chosen: Chosen, names: Collection[str] | None) -> list[Unit]:
    """The units that are meant, those around before those inside, plain trees last. Raises BadInput."""
    parts = [part for name in names for part in chosen.part(name)] if names is not None else list(chosen.parts)
    if pieces := [part for part in parts if part.path]:
        seen = shown(pieces[0].place + b"/" + pieces[0].path)
        raise BadInput("only whole repositories go back into a sandbox",
                       (Mistake("REPO", seen, f"use {shown(pieces[0].place)}"),))
    units = {part.unit.key: part.unit for part in parts}
    return sorted(units.values(), key=lambda unit: (unit.kind == "tree", unit.path != b".", unit.path.split(b"/")))


def put_back(open_stream: Callable[[Sequence[str]], Stream], *, store: Path, sandbox_id: str,
             generation: int | None = None, units: Collection[str] | None = None, workspace: str = "/workspace",
             sessions: str = "/home/pi/.pi/agent/sessions", artifacts: Sequence[str] = (),
             progress: Progress | None = None, force: bool = False, limits: Limits | None = None) -> PutBack:
    """Put a stored generation (the newest where none is named), or some units of it, into a sandbox.

    `open_stream` starts an argument list inside the sandbox as its user; it may be another one than `sandbox_id`, of
    which `store`, the folder of all results, holds the generation. `units` are names as a person types them;
    `artifacts` are the patterns of the pull. A place where somebody's work is stays as it is; with `force` that is
    moved aside first. `progress` is called with what is being done and the bytes sent so far. Never raises for anything
    that the sandbox or a connection did: `trouble` says it. Raises BadInput for a generation or a unit that is not
    there, PifleetError for a damaged store.
    """
    limits = limits or Limits()
    chosen = choose(store, sandbox_id, sandbox_id, generation, limits=limits)
    wanted = _wanted(chosen, units)
    started = time.monotonic()
    settings = capture_settings(workspace, sessions, artifacts, limits) | {"idle": int(limits.idle)}
    course = _Course(chosen, wanted, limits, progress)
    trouble: Trouble | None = None
    try:
        with held(store / ".store" / f"{sandbox_id}.lock", "restore"), closing(open_stream(ARGV)) as stream:
            course.run(stream, settings, force=force)
    except Refusal as refusal:
        trouble = Trouble(f"generation {chosen.number} of {chosen.title} is not wholly back in the sandbox",
                          f"{refusal.code}: {refusal}", refusal.where or sandbox_id, "run the same command again")
    except PifleetError as error:
        trouble = error.trouble
    except OSError as error:
        trouble = Trouble("the generation could not be sent", str(error), sandbox_id)
    missing = [UnitPut(shown(unit.path), "not reached") for unit in wanted[len(course.done) :]]
    return PutBack(sandbox_id, chosen.number, (*course.done, *missing), time.monotonic() - started, course.sent,
                   trouble)
