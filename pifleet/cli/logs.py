"""Owns the verb logs.
It must not start or end a run."""

from __future__ import annotations

import click

from pifleet.cli.act import located, opened
from pifleet.cli.call import Call, verb
from pifleet.cli.follow import follow
from pifleet.output import Row, mark
from pifleet.report import document, exit_code
from pifleet.sandbox import runs
from pifleet.traffic import asked


@verb()
@click.argument("name", metavar="DEV")
@click.option("-f", "--follow", "to_the_end", is_flag=True, help="Go on until the run ends; exits 1 if it failed.")
@click.option("--run", "run", metavar="ID", help="Another run than the latest.")
@click.option("--egress", is_flag=True, help="What the sandbox asked of the network instead, and what was refused.")
def command(call: Call, name: str, to_the_end: bool, run: str | None, egress: bool) -> int:
    """Show what pi said in a sandbox's latest run."""
    if egress:
        return _egress(call, name)
    with opened(call, name) as (driver, box, _):
        found = run or next((one.id for one in reversed(runs.listing(driver, box))), "")
        if not found:
            call.output.say(f'no run in {box.title} yet; try pifleet run {box.title} -p "..."')
            call.output.document(document("logs", sandbox=box.title, run=None, running=False, outcome=None, lines=[]))
            return 0
        said: list[str] = []

        def hear(line: str) -> None:
            said.append(line)
            call.output.talk(line)

        outcome = follow(driver, box, found, hear, to_the_end=to_the_end)
    if outcome:
        call.output.say(mark("ok" if outcome.ok else "failed"), f"run {found}", outcome.sentence)
    call.output.document(document(
        "logs", sandbox=box.title, run=found, running=outcome is None, lines=said, outcome=outcome and vars(outcome),
    ))
    return exit_code(failed=to_the_end and not (outcome and outcome.ok))


def _egress(call: Call, name: str) -> int:
    box, host = located(call, name)
    found = asked(host, box)
    call.output.table([
        Row((mark(one.verdict), f"{one.name}:{one.port}", f"{one.count}x", one.last,
             f"egress: {one.entry}" if one.entry else ""))
        for one in found
    ])
    if not found:
        call.output.say(f"{box.title} asked for nothing yet")
    call.output.document(document("logs", sandbox=box.title, egress=[one.as_json() for one in found]))
    return 0
