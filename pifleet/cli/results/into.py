"""Owns how a generation that goes back into a sandbox reads: progress, a line for each unit, the document.
It must not put anything there itself."""

from __future__ import annotations

from pathlib import Path

from pifleet.cli.act import opened
from pifleet.cli.call import Call
from pifleet.cli.results.items import say_items
from pifleet.events import Event
from pifleet.output import Mark, Output, Row, mark
from pifleet.phrases import count, seconds, size
from pifleet.report import document, exit_code, merge
from pifleet.results import Chosen, PutBack, UnitPut, put_back

_MARKS = {"restored": Mark("restored", "✓", "green"), "equal": Mark("equal", "=", "dim"),
          "not reached": Mark("not reached", "!", "red")}


def into_sandbox(call: Call, chosen: Chosen, part: str, sandbox_id: str, title: str, *, force: bool) -> int:
    """Put `part` of a generation, or all of it, into the sandbox `title`; returns the exit code.

    Raises BadInput, SandboxFailed, HostFailed.
    """
    store = Path(call.fleet.results)
    with opened(call, title) as (driver, box, host), call.output.progress() as emit:
        done = put_back(
            lambda argv: driver.claimed(box, argv, "restore", store), store=store, sandbox_id=sandbox_id,
            generation=chosen.number, units=[part] if part else None, artifacts=box.artifacts, force=force,
            limits=chosen.store.limits,
            progress=lambda what, sent: emit(Event("restore", host.name, box.title, f"{what}, {size(sent)}")),
        )
        emit(Event("restore", host.name, box.title, state="ok" if done.complete else "failed"))
    show(call.output, done)
    call.output.say(f"{chosen.title} generation {chosen.number} into {box.title}: {size(done.bytes)} sent, "
                    f"{seconds(done.seconds)}")
    call.output.errors(merge([((box.title,), done.trouble)] if done.trouble else []))
    call.output.document(document("results.restore", sandbox=chosen.title, part=part, to_sandbox=box.title,
                                  **done.as_json()))
    broken = done.trouble is not None or any(unit.result == "failed" for unit in done.units)
    return exit_code(failed=broken, pending=not done.complete)


def show(output: Output, done: PutBack) -> None:
    """A line for each unit, and every file that is not simply as it was."""
    output.table([Row((_MARKS.get(unit.result) or mark(unit.result), unit.name, _words(unit))) for unit in done.units])
    for unit in done.units:
        say_items(output, f"{unit.name}  something else was there", unit.kept)
        say_items(output, f"{unit.name}  not in the generation", unit.left)
    if any(unit.result == "refused" for unit in done.units):
        output.say("--force moves aside what is there, and destroys nothing")


def _words(unit: UnitPut) -> str:
    if unit.reason:
        return unit.reason
    told = [count(unit.files, "file")] if unit.result == "restored" else []
    told += [f"what was there is in {unit.aside}"] if unit.aside else []
    told += ["made new: no remotes, hooks and settings"] if unit.fresh else []
    return "; ".join(told)
