"""Owns the main job: apply a plan and look again; only that second look may say that a fleet has converged.
It must not print or ask; what became of each host and sandbox is a row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pifleet.converge import converge
from pifleet.converge.listen import HostRun
from pifleet.desired import Spec
from pifleet.errors import Trouble
from pifleet.events import Emit, Event, silent
from pifleet.keyring import read_secrets
from pifleet.lock import locked
from pifleet.look import Look, look
from pifleet.patterns import patterns
from pifleet.plan import ENDING, Step
from pifleet.report import Outcome
from pifleet.rescue import returning
from pifleet.rescue.home import Rescue, changed_since, rescue
from pifleet.rescue.moving import as_it_is, bring_back, finish_moves, finish_removals, staying
from pifleet.results import Pull


@dataclass(frozen=True)
class Applied:
    """What became of every host and sandbox, and the pulls that were made before sandboxes were replaced."""

    outcomes: Sequence[Outcome]
    pulls: Sequence[Pull] = ()


def apply(
    found: Look, emit: Emit = silent, *, interrupt: bool = False, keep_run: bool = False,
    discard: Collection[str] = (),
) -> Applied:
    """Do what the plan says, look again at what was touched, and tell what became of every host and sandbox.

    A sandbox is replaced only when its work is home, unless `discard` names it, and is then proven to hold the same
    work again. One in which an agent is at work is left alone unless `interrupt`. Raises BadInput when a repository's
    credential is not to be had; nothing was touched then.
    """
    found = finish_removals(found, emit)
    ending = {step.sandbox: step for step in found.plan.steps if step.action in ENDING and step.sandbox}
    busy = {title: _at_work(step) for title, step in ending.items() if step.destructive and not interrupt}
    at = {title: step.host for title, step in ending.items() if title not in busy}
    saved = _saved(found, at, discard, emit)
    left_out = {**busy, **saved.refused}
    found = staying(found, left_out)
    pulls = tuple(saved.pulls.values())
    steps = [step for step in found.plan.steps if step.sandbox not in left_out]
    gone = returning.lost(found, [step for step in steps if step.sandbox not in at])
    waiting = {title: one for title, one in returning.pending(found).items() if title not in ending} | gone
    if not steps and not waiting:
        return Applied(_outcomes(found, found, {}, left_out), pulls)
    needed = {f"repo:{name}:{kind}" for name in _repos_to_clone(found, steps) for kind in ("token", "ssh_key")}
    secrets = {**found.secrets, **read_secrets(found.fleet, needed)}
    specs = run_specs(found, steps)
    hosts = {host: found.fleet.hosts[host] for host in specs}
    replaced = {host: [box for box in found.fleet.sandboxes if at.get(box.title) == host and box.title not in left_out]
                for host in specs}
    replacing = at.keys() - left_out.keys() - found.placement.moves.keys()
    returning.note(found, [*(one for title, one in saved.pulls.items() if title in replacing), *gone.values()])
    with locked(hosts, replaced, "provision") as taken:
        free = {host: spec for host, spec in specs.items() if host not in taken}
        runs = {host: HostRun(trouble=trouble) for host, trouble in taken.items()}
        if free:
            run = converge(free, found.fleet.hosts, secrets, emit=emit, keep=keep_run)
            runs |= run.hosts
            if run.kept:
                emit(Event("hosts", text=f"the run is kept in {run.kept}", state="note"))
        emit(Event("look again"))
        again = look(found.fleet, found.selection)
    saved = Rescue({**saved.pulls, **waiting}, saved.refused)
    going = {title: host for title, host in at.items() if title not in left_out}
    going |= {title: found.placement.host_of[title] for title in waiting}
    troubles = _proven(found, again, going, saved, emit)
    return Applied(_failed(_outcomes(found, again, runs, left_out), troubles), pulls)


def _saved(found: Look, at: Mapping[str, str], discard: Collection[str], emit: Emit) -> Rescue:
    """Bring home what the sandboxes of `at` (title -> host) hold, once they hold all that an earlier run put there."""
    was = as_it_is(found, at)
    halves = {title: one for title, one in returning.pending(found).items() if title in at and title not in discard}
    lacking = bring_back(was, {title: at[title] for title in halves}, Rescue(halves, {}), emit)
    whole = {title: host for title, host in at.items() if title not in lacking}
    saved = rescue(was, whole, emit, given_up=discard)
    return Rescue(saved.pulls, {**saved.refused, **lacking})


def _proven(found: Look, again: Look, at: Mapping[str, str], saved: Rescue, emit: Emit) -> dict[str, Trouble]:
    """What of the sandboxes of `at` (title -> host on which they were rescued) is not where it belongs, by title."""
    made = {step.sandbox for step in again.plan.steps if step.action not in ENDING}
    moves = [title for title in at if title in again.placement.moves and title not in made]
    replaced = {title: host for title, host in at.items() if title not in found.placement.moves and title not in made}
    emptied = {title: host for title, host in replaced.items() if not returning.keeps_work(found.fleet, title)}
    kept = {title: host for title, host in replaced.items() if title not in emptied}
    lacking = bring_back(found.fleet, emptied, saved, emit)
    moved = finish_moves(again, moves, saved, emit)
    for title in {*emptied, *moves} - lacking.keys() - moved.keys():
        returning.forget(found.fleet, title)
    return {**changed_since(found.fleet, kept, saved, emit), **lacking, **moved}


def run_specs(found: Look, steps: Sequence[Step]) -> dict[str, Spec]:
    """The specs of the hosts that have steps, cut down to the parts and sandboxes that these name."""
    specs = {}
    for host in dict.fromkeys(step.host for step in steps if step.action != "remove"):
        own = [step for step in steps if step.host == host and step.action != "remove"]
        named = {step.sandbox for step in own if step.sandbox}
        parts = {"preflight", *(step.part for step in own)}
        spec = found.specs[host]
        specs[host] = {
            **spec,
            "parts": [part for part in spec["parts"] if part in parts],
            "dirs": [entry for entry in spec["dirs"] if not entry["sandbox"] or entry["sandbox"] in named],
            "files": [entry for entry in spec["files"] if not entry["sandbox"] or entry["sandbox"] in named],
        }
        for each in patterns().values():
            specs[host] |= each.cut(spec, found.seen[host].data, own)
    _choose_builder(found, specs)
    _choose_maker(specs)
    return specs


def _choose_builder(found: Look, specs: dict[str, Spec]) -> None:
    """One host makes the image that is not yet carried here: one that has it already, else the first that needs it."""
    needing = [host for host, spec in specs.items() if "pi_image" in spec["parts"]]
    if not needing or Path(specs[needing[0]]["image"]["archive"]).exists():
        return
    image = found.fleet.image
    having = [
        host for host, answer in found.seen.items()
        if found.selection.has_host(host) and (answer.data["images"].get(image.name) or {}).get("hash") == image.hash
    ]
    builder = (having or needing)[0]
    nothing_else = {"parts": ["preflight", "pi_image"], "dirs": [], "files": [], "sandboxes": [], "orphans": []}
    spec = specs.setdefault(builder, {**found.specs[builder], **nothing_else})
    spec["parts"] = [part for part in found.specs[builder]["parts"] if part in {*spec["parts"], "pi_image"}]
    spec["image"] = {**spec["image"], "builder": True}


def _choose_maker(specs: dict[str, Spec]) -> None:
    """The first host that needs gondolin's runtime makes it, unless it is carried here already."""
    needing = [spec["gondolin"] for spec in specs.values() if "gondolin" in spec["parts"]]
    if needing and not Path(needing[0]["runtime"]["archive"]).exists():
        needing[0]["runtime"] = {**needing[0]["runtime"], "builder": True}


def _repos_to_clone(found: Look, steps: Iterable[Step]) -> set[str]:
    return {step.item for step in steps if step.kind == "repo"}


def _outcomes(
    before: Look, after: Look, runs: Mapping[str, HostRun], left_out: Mapping[str, Trouble]
) -> list[Outcome]:
    """A row for every selected host and sandbox, judged by the second look alone."""
    silent_now, unfit = dict(after.plan.unreachable), dict(after.plan.unfit)
    rows: list[Outcome] = []
    for host in filter(before.selection.has_host, before.fleet.hosts):
        if not before.fleet.hosts[host].patterns:
            continue
        if host in silent_now:
            rows.append(Outcome(host, "", "unreachable", runs.get(host, HostRun()).seconds, silent_now[host]))
            continue
        if host in unfit:
            rows.append(Outcome(host, "", "failed", 0.0, unfit[host]))
            continue
        rows.append(_row(host, "", before, after, runs.get(host), left_out))
    for box in filter(before.selection.has_sandbox, before.fleet.sandboxes):
        home = after.placement.host_of.get(box.title, before.placement.host_of.get(box.title, ""))
        if home and not before.selection.has_host(home):
            continue
        trouble = dict(after.plan.blocked).get(box.title) or unfit.get(home)
        if trouble or home in silent_now or not home:
            why = trouble or Trouble(f"{home or 'its host'} did not answer", where=box.title)
            rows.append(Outcome(home, box.title, "skipped", 0.0, why))
        else:
            rows.append(_row(home, box.title, before, after, runs.get(home), left_out))
    return rows


def _row(
    host: str, title: str, before: Look, after: Look, run: HostRun | None, left_out: Mapping[str, Trouble]
) -> Outcome:
    planned = [step for step in before.plan.of(host) if step.sandbox == title]
    # What is to leave was still there at that look; whether it went is told by who removed it.
    remaining = [step for step in after.plan.of(host) if step.sandbox == title and step.action != "remove"]
    seconds = run.seconds if run and not title else 0.0
    if title in left_out:
        return Outcome(host, title, "skipped", seconds, left_out[title])
    if remaining:
        return Outcome(host, title, "failed", seconds, (run and run.trouble) or _still(host, remaining))
    if run and run.trouble and not title:
        return Outcome(host, title, "failed", seconds, run.trouble)
    return Outcome(host, title, "changed" if planned else "ok", seconds)


def _failed(outcomes: Iterable[Outcome], troubles: Mapping[str, Trouble]) -> list[Outcome]:
    """The outcomes, where a sandbox that has a trouble has failed."""
    return [replace(outcome, result="failed", error=troubles[outcome.sandbox]) if outcome.sandbox in troubles
            else outcome for outcome in outcomes]


def _at_work(step: Step) -> Trouble:
    return Trouble(
        f"{step.sandbox}: the agent is at work",
        saw=f"{step.action} {step.item}: {step.why}",
        where=f"host {step.host}",
        try_=f"wait, or pifleet provision --interrupt --developer {step.sandbox.partition('/')[0]}",
    )


def _still(host: str, remaining: Sequence[Step]) -> Trouble:
    first = remaining[0]
    return Trouble(
        f"still not as it should be: {first.item}" + (f" and {len(remaining) - 1} more" if len(remaining) > 1 else ""),
        saw=f"{first.why} (before {dict(first.before)}, wanted {dict(first.after)})",
        where=f"host {host}" + (f", {first.sandbox}" if first.sandbox else ""),
        try_="pifleet plan, then pifleet provision -v",
    )
