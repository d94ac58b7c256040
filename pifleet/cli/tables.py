"""Owns how plans and outcomes read as tables; the JSON beside them comes from the values themselves.
It must not decide anything or print without being given an output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pifleet.errors import Trouble
from pifleet.fleet import Fleet
from pifleet.look import Look
from pifleet.operate import Did
from pifleet.output import Output, Row, mark
from pifleet.phrases import count, seconds
from pifleet.plan import ENDING, Plan, Step
from pifleet.report import Check, Outcome, merge, merge_outcomes, names_of

SHOWN_EACH = 4
LONGEST = 200


def show_plan(output: Output, found: Look, *, every_step: bool = False) -> None:
    """The steps under the host or sandbox that they change, what could not be looked at, and the totals."""
    plan = found.plan
    for place in _places(plan):
        host, sandbox = place
        output.say(f"{sandbox} on {host}" if sandbox else host)
        output.table([
            row for group in _groups(step for step in plan.steps if (step.host, step.sandbox) == place)
            for row in _rows(group, every_step=every_step)
        ])
        notes = [note for note in plan.notes if place == (note.place, "")]
        output.table([Row(("", mark(note.verdict), note.name, note.text)) for note in notes])
    show_unseen(output, plan)
    output.say(totals(plan))


def _places(plan: Plan) -> list[tuple[str, str]]:
    """The hosts and sandboxes with steps, in their order; a host that is noted for something comes before its own."""
    noted = {note.place for note in plan.notes}
    found: dict[tuple[str, str], None] = {}
    for step in plan.steps:
        if step.host in noted:
            found[step.host, ""] = None
        found[step.host, step.sandbox] = None
    return list(found)


def show_unseen(output: Output, plan: Plan) -> None:
    """The hosts that did not answer or are not fit, and the sandboxes that cannot be placed, as errors."""
    output.errors(merge((names_of(name), trouble)
                        for name, trouble in (*plan.unreachable, *plan.unfit, *plan.blocked)))


def totals(plan: Plan) -> str:
    """`2 to create, 1 to change, 31 unchanged`."""
    counts = Counter(step.action for step in plan.steps)
    words = [f"{number} to {action}" for action, number in counts.items()] or ["nothing to change"]
    words.append(f"{plan.unchanged} unchanged")
    if plan.unreachable:
        words.append(f"{count(len(plan.unreachable), 'host')} unreachable")
    return ", ".join(words)


def show_outcomes(output: Output, fleet: Fleet, outcomes: Sequence[Outcome], elapsed: float) -> None:
    """A row for each host and sandbox, each error once, and one line of totals."""
    for title, rows in (
        ("hosts", [outcome for outcome in outcomes if not outcome.sandbox]),
        ("sandboxes", [outcome for outcome in outcomes if outcome.sandbox]),
    ):
        if rows:
            output.say(title)
            output.table([outcome_row(outcome, _pattern(fleet, outcome)) for outcome in rows])
    output.errors(merge_outcomes(outcomes))
    output.say(f"{tally(outcomes)}, {seconds(elapsed)}")


def show_checks(output: Output, checks: Sequence[Check]) -> None:
    """One line a check and, under one that did not pass, what was seen and the next command; then the counts."""
    names, places = (max((len(text) for text in texts), default=0) for texts in (
        [check.name for check in checks], [check.place for check in checks]))
    for check in checks:
        output.table([Row((mark(check.verdict), f"{check.place:{places}}", f"{check.name:{names}}", check.text))])
        if check.saw:
            output.say(f"        saw  {check.saw}")
        if check.try_:
            output.say(f"        try  {check.try_}")
    failed, warned = (sum(check.verdict == verdict for check in checks) for verdict in ("fail", "warn"))
    output.say(f"{count(len(checks), 'check')}, {failed} failed, {count(warned, 'warning')}")


def verified(did: Did[list[Check]]) -> Outcome:
    """What became of a verified sandbox: failed as soon as one check did."""
    broken = [check for check in did.value or () if check.verdict == "fail"]
    if not broken:
        return did.outcome()
    saw = "\n".join(": ".join(filter(None, (check.name, check.text, check.saw[:LONGEST]))) for check in broken)
    trouble = Trouble(f"{did.box.title} is not what it should be", saw, f"host {did.host}", broken[0].try_)
    return Outcome(did.host, did.box.title, "failed", did.seconds, trouble)


def outcome_row(outcome: Outcome, detail: str = "") -> Row:
    """One host or sandbox: what became of it, where it is, how long it took or why it failed."""
    word = "unchanged" if outcome.result == "ok" else outcome.result
    why = outcome.error.headline if outcome.error else seconds(outcome.seconds) if outcome.seconds >= 1 else ""
    return Row(("", mark(word), outcome.name, detail, why), quiet=outcome.result == "ok")


def tally(outcomes: Iterable[Outcome]) -> str:
    """`1 host changed, 1 host failed, 2 sandboxes unchanged`."""
    kinds = Counter(
        (("sandbox", "sandboxes") if outcome.sandbox else ("host", "hosts"), outcome.result) for outcome in outcomes
    )
    parts = [
        f"{count(number, *names)} {'unchanged' if result == 'ok' else result}"
        for (names, result), number in kinds.items()
    ]
    return ", ".join(parts) or "nothing selected"


def _pattern(fleet: Fleet, outcome: Outcome) -> str:
    box = fleet.sandbox(outcome.sandbox) if outcome.sandbox else None
    return f"{box.pattern} @ {outcome.host or '?'}" if box else ""


def _groups(steps: Iterable[Step]) -> list[list[Step]]:
    """Steps of one place, by what is done and which part does it."""
    groups: dict[tuple[str, str], list[Step]] = {}
    for step in steps:
        groups.setdefault((step.part, step.action), []).append(step)
    return list(groups.values())


def _rows(steps: Sequence[Step], *, every_step: bool) -> list[Row]:
    if len(steps) <= SHOWN_EACH or every_step:
        return [Row(("", mark(step.action), step.item, _why(step))) for step in steps]
    first = steps[0]
    return [Row(("", mark(first.action), first.part, f"{len(steps)} items, {first.item} first (-v shows each)"))]


def _why(step: Step) -> str:
    busy = step.destructive and step.action in ENDING
    return f"{step.why}; an agent is at work there" if busy else step.why
