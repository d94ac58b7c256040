"""Owns the verb run: give the task, follow it, say how it ended, bring the work home.
It must not judge a run, and the run does not need this program: it goes on when this one ends."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from pifleet.cli.act import all_option, each_of, meant, some
from pifleet.cli.call import Call, verb
from pifleet.cli.follow import follow
from pifleet.cli.home import failed, show_pulls
from pifleet.errors import BadInput, Trouble
from pifleet.fleet import Sandbox
from pifleet.operate import Did, Say
from pifleet.output import Row, mark
from pifleet.phrases import seconds
from pifleet.report import document, exit_code, merge, names_of
from pifleet.rescue.home import pull_of, puller
from pifleet.sandbox import Driver, runs
from pifleet.sandbox.outcome import Outcome

HOURS = 3600


@dataclass(frozen=True)
class Ran:
    """What became of one sandbox's task."""

    box: Sandbox
    id: str = ""
    outcome: Outcome | None = None
    trouble: Trouble | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return bool(self.outcome and self.outcome.ok)

    @property
    def sentence(self) -> str:
        if self.outcome:
            return self.outcome.sentence
        return self.trouble.headline if self.trouble else ""

    def as_json(self) -> dict[str, Any]:
        return {
            "sandbox": self.box.title, "run": self.id or None, "result": "ok" if self.ok else "failed",
            "sentence": self.sentence, "answer": self.outcome.answer if self.outcome else "",
            "seconds": round(self.seconds, 1), "error": self.trouble.as_json() if self.trouble else None,
        }


@verb()
@some
@all_option
@click.option("-p", "--prompt", required=True, metavar="TASK", help="What pi shall do; - reads it from standard input.")
@click.option("--deadline", type=float, default=8 * HOURS, show_default=True, metavar="SECONDS",
              help="End pi after so long.")
def command(call: Call, names: tuple[str, ...], everyone: bool, prompt: str, deadline: float) -> int:
    """Give pi a task, follow it, and bring the result home.

    The task runs on in the sandbox when this command is interrupted; pifleet logs -f follows it again. A task that
    failed exits 1, and the work so far is pulled all the same.
    """
    boxes = meant(call, names, everyone=everyone)
    task = sys.stdin.read() if prompt == "-" else prompt
    if not task.strip():
        raise BadInput("the task is empty", try_='pifleet run DEV -p "what pi shall do"')
    started = each_of(call, boxes, partial(_start, task, deadline), stage="start")
    at = {did.box.title: did.host for did in started}
    begun = [did for did in started if did.error is None]
    try:
        told = _follow(call, begun, at)
    except KeyboardInterrupt:
        for did in begun:
            call.output.note(f"{did.box.title} works on; pifleet logs -f {did.box.title}")
        raise
    ran = [_ran(did, told.get(did.box.title)) for did in started]
    done = each_of(call, [did.box for did in begun], puller(call.fleet), stage="pull", at=at)
    pulls = [pull_of(did) for did in done]
    call.output.table([_row(one) for one in ran])
    call.output.errors(merge((names_of(one.box.title), one.trouble) for one in ran if one.trouble))
    show_pulls(call.output, pulls)
    call.output.document(document(
        "run", runs=[one.as_json() for one in ran], pulls=[one.as_json() for one in pulls],
    ))
    return exit_code(failed=failed(pulls) or not all(one.ok for one in ran))


def _start(task: str, deadline: float, driver: Driver, box: Sandbox, _: Say) -> str:
    driver.require_running(box)
    return runs.start(driver, box, task, deadline=deadline)


def _follow(call: Call, begun: list[Did[str]], at: dict[str, str]) -> dict[str, Did[Outcome | None]]:
    """Follow every run to its end, each line said as it comes; lines carry their sandbox when there are several."""
    ids = {did.box.title: str(did.value) for did in begun}

    def act(driver: Driver, box: Sandbox, _: Say) -> Outcome | None:
        prefix = f"{box.title}  " if len(begun) > 1 else ""
        return follow(driver, box, ids[box.title], lambda line: call.output.talk(prefix + line), to_the_end=True)

    done = each_of(call, [did.box for did in begun], act, stage="run", at=at, quiet=True)
    return {did.box.title: did for did in done}


def _ran(started: Did[str], told: Did[Outcome | None] | None) -> Ran:
    if told is None:
        return Ran(started.box, trouble=started.error, seconds=started.seconds)
    return Ran(started.box, str(started.value), told.value, told.error, told.seconds)


def _row(one: Ran) -> Row:
    return Row((mark("ok" if one.ok else "failed"), one.box.title, one.sentence, seconds(one.seconds)))
