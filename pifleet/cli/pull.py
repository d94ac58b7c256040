"""Owns the verb pull.
It must not know how work comes home."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import click

from pifleet.cli.act import each_of, some
from pifleet.cli.call import Call, verb
from pifleet.cli.home import failed, show_pulls
from pifleet.errors import BadInput
from pifleet.report import document, exit_code
from pifleet.rescue.home import pull_of, puller
from pifleet.results import Pull

_UNITS = {"s": 1, "m": 60, "h": 3600}


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smh])", value)
    if not found:
        raise click.BadParameter(f"{value!r} is no time; write 60s, 5m or 1h")
    return int(found[1]) * _UNITS[found[2]]


@verb()
@some
@click.option("--watch", is_flag=True, help="Go on until interrupted, and show what is new.")
@click.option("--every", callback=_seconds, default="60s", show_default=True, metavar="TIME",
              help="With --watch, from the beginning of one round to that of the next.")
def command(call: Call, names: tuple[str, ...], watch: bool, every: int) -> int:
    """Download results: commits, changes, artifacts, session logs.

    Each pull that finds something new makes one verified generation in the store; of all sandboxes when none is named.
    The newest files are in results/DEV/SANDBOX: what you change there stays, and ours is put beside it as
    NAME.generation-N. Exits 1 when something of a sandbox is not at home.
    """
    if watch and call.output.json:
        raise BadInput("-o json prints one document, and --watch never ends",
                       try_="pifleet pull -o json from a timer, or pifleet pull --watch")
    if watch:
        _keep_home(call, names, every)
    pulls = _round(call, names)
    show_pulls(call.output, pulls)
    if not pulls:
        call.output.say("no sandbox is selected")
    call.output.document(document("pull", pulls=[one.as_json() for one in pulls]))
    return exit_code(failed=failed(pulls))


def _round(call: Call, names: tuple[str, ...]) -> list[Pull]:
    return [pull_of(did) for did in each_of(call, call.sandboxes(names), puller(call.fleet), stage="pull")]


def _keep_home(call: Call, names: tuple[str, ...], every: int) -> None:
    """Round after round, quiet while nothing is new; ends by an interrupt only."""
    said: dict[str, str] = {}
    while True:
        began = time.monotonic()
        pulls = _round(call, names)
        news = [one for one in pulls if one.result != "unchanged" and said.get(one.sandbox) != _words(one)]
        said = {one.sandbox: _words(one) for one in pulls}
        if news:
            call.output.say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
            show_pulls(call.output, news)
        time.sleep(max(0.0, began + every - time.monotonic()))


def _words(one: Pull) -> str:
    """What a person is told of a pull; a failure that repeats itself is told once."""
    return f"{one.generation} {one.result} {one.trouble.headline if one.trouble else ''}"
