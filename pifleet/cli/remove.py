"""Owns the verb remove: who is meant, everything home first, the question, then the removal.
It must not delete anything itself, and nothing is deleted before it is home or knowingly given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import click

from pifleet.cli.act import each_of, some
from pifleet.cli.ask import confirm
from pifleet.cli.call import Call, verb
from pifleet.cli.home import show_pulls
from pifleet.cli.tables import show_outcomes
from pifleet.errors import BadInput, HostFailed, Mistakes, SandboxFailed, Trouble
from pifleet.fleet import Sandbox
from pifleet.look import Look, look
from pifleet.operate import Act, Say
from pifleet.phrases import count, listed
from pifleet.removal import Target, busy, remove, targets
from pifleet.report import Outcome, document, exit_code
from pifleet.rescue.home import not_home, pull_of, puller
from pifleet.results import Pull
from pifleet.sandbox import Driver
from pifleet.wording import choose, show


@verb(asks=True)
@some
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="Everything that pifleet made on this host.")
@click.option("--discard", multiple=True, metavar="NAME", help="Remove this one although its work is not home.")
@click.option("--interrupt", is_flag=True, help="Also end a running agent.")
def command(
    call: Call, names: tuple[str, ...], hosts: tuple[str, ...], discard: tuple[str, ...], interrupt: bool
) -> int:
    """Pull, then remove sandboxes and what pifleet made for them.

    Refuses a sandbox whose pull is not complete, unless --discard names it. Asks first.
    """
    if bool(names) == bool(hosts):
        raise BadInput("name sandboxes, or a host with --host", try_="pifleet remove --help")
    fleet = call.fleet
    with call.output.progress() as emit:
        found = look(fleet, emit=emit, keys=False)
    going = _of_hosts(found, hosts) if hosts else _named(found, names)
    given_up = _titles(found, discard)
    pulls, refused = _bring_home(call, going, given_up, interrupt=interrupt)
    going = [target for target in going if target.box.title not in {outcome.sandbox for outcome in refused}]
    outcomes = list(refused)
    if (going or hosts) and not (hosts and refused):
        what = listed(tuple(hosts) or tuple(target.box.title for target in going))
        many = f"{count(len(going), 'sandbox', 'sandboxes')} with all data there"
        typed = hosts[0] if hosts else going[0].box.title if len(going) == 1 else str(len(going))
        confirm(f"This removes {what}: {many}", yes=call.yes, typed=typed)
        with call.output.progress() as emit:
            outcomes += remove(found, going, emit, whole_hosts=hosts)
    show_outcomes(call.output, fleet, outcomes, sum(outcome.seconds for outcome in outcomes[-1:]))
    _say_what_comes_back(call, outcomes)
    call.output.document(document(
        "remove", pulls=[one.as_json() for one in pulls], outcomes=[outcome.as_json() for outcome in outcomes],
    ))
    return exit_code(outcomes)


def _named(found: Look, names: Sequence[str]) -> list[Target]:
    titles = _titles(found, names)
    there = [target for target in targets(found) if target.box.title in titles]
    unseen = titles - {target.box.title for target in there}
    unplaced = [found.placement.troubles[title] for title in unseen if title in found.placement.troubles]
    for trouble in (*dict(found.plan.unreachable).values(), *unplaced) if unplaced else ():
        raise SandboxFailed(trouble.headline, saw=trouble.saw, where=trouble.where, try_=trouble.try_)
    return there


def _titles(found: Look, names: Sequence[str]) -> set[str]:
    """The titles that these names mean, in the inventory or only on a host. Raises BadInput for the others."""
    mistakes, titles = Mistakes(), set()
    left = [target.box.title for target in targets(found)]
    known = list(dict.fromkeys([*(box.title for box in found.fleet.sandboxes), *left]))
    for name in names:
        box = found.fleet.sandbox(name)
        title = box.title if box else name if name in left else f"{name}/main" if f"{name}/main" in left else ""
        if title:
            titles.add(title)
        else:
            mistakes.add("DEV", show(name), choose(name, known))
    mistakes.raise_any("no such sandbox")
    return titles


def _of_hosts(found: Look, hosts: Sequence[str]) -> list[Target]:
    mistakes = Mistakes()
    for host in hosts:
        if host not in found.fleet.hosts:
            mistakes.add("--host", show(host), choose(host, found.fleet.hosts))
        elif found.fleet.hosts[host].gateway:
            mistakes.add("--host", show(host), "name its sandboxes; the gateway that it reaches is somebody else's")
        elif host not in found.seen:
            trouble = dict(found.plan.unreachable).get(host, Trouble(f"{host} did not answer"))
            raise HostFailed(trouble.headline, saw=trouble.saw, where=trouble.where, try_=trouble.try_)
    mistakes.raise_any("no such host")
    return [target for target in targets(found) if target.host in hosts]


def _bring_home(
    call: Call, going: Sequence[Target], given_up: set[str], *, interrupt: bool
) -> tuple[list[Pull], list[Outcome]]:
    """Pull all that has to be home; the pulls, and a row for each sandbox that may not go."""
    working = set() if interrupt else busy(call.fleet, going)
    refused = [_refusal(target, _at_work(target)) for target in going if target.box.title in working]
    asked = [target for target in going if target.box.title not in given_up | working]
    half = moving(asked)
    refused += [_refusal(target, _on_its_way(target)) for target in asked if target.box.title in half]
    asked = [target for target in asked if target.box.title not in half]
    gone = [target for target in asked if not target.container]
    refused += [_refusal(target, _unreadable(target)) for target in gone]
    there = [target for target in asked if target.container]
    at = {target.box.title: target.host for target in there}
    act = partial(_pull, puller(call.fleet), interrupt)
    done = each_of(call, [target.box for target in there], act, stage="pull", at=at)
    pulls = [pull_of(did) for did in done]
    if pulls:
        show_pulls(call.output, pulls)
    for target, one in zip(there, pulls, strict=True):
        trouble = not_home(one)
        if trouble:
            again = f"pifleet remove {one.sandbox} --discard {one.sandbox} destroys it knowingly"
            refused.append(_refusal(target, replace(trouble, try_=f"{trouble.try_}; {again}")))
    return pulls, refused


def _pull(act: Act[Pull], interrupt: bool, driver: Driver, box: Sandbox, say: Say) -> Pull:
    """A stopped sandbox is started for its pull; with `interrupt` everything in it is ended first."""
    if interrupt:
        driver.stop(box)
    driver.open_again(box)
    return act(driver, box, say)


def _refusal(target: Target, trouble: Trouble) -> Outcome:
    return Outcome(target.host, target.box.title, "skipped", 0.0, trouble)


def _at_work(target: Target) -> Trouble:
    title = target.box.title
    return Trouble(f"{title}: the agent is at work", where=f"host {target.host}",
                   try_=f"wait, or pifleet remove {title} --interrupt")


def moving(going: Sequence[Target]) -> set[str]:
    """The titles of which there are two: the old sandbox of a move and the new one, and nobody knows which has what."""
    titles = [target.box.title for target in going if target.container]
    return {title for title in titles if titles.count(title) > 1}


def _on_its_way(target: Target) -> Trouble:
    title = target.box.title
    return Trouble(f"{title} is on its way to another host or pattern", where=f"host {target.host}",
                   try_=f"pifleet provision --developer {target.box.developer} ends that, or --discard {title}")


def _unreadable(target: Target) -> Trouble:
    title = target.box.title
    return Trouble(f"{title} has files but no container, so they cannot be pulled", where=f"host {target.host}",
                   try_=f"pifleet provision --developer {target.box.developer}, or --discard {title}")


def _say_what_comes_back(call: Call, outcomes: Sequence[Outcome]) -> None:
    known = {box.title for box in call.fleet.sandboxes}
    again = tuple(outcome.sandbox for outcome in outcomes if outcome.result == "changed" and outcome.sandbox in known)
    if again:
        call.output.note(f"still in the inventory, so provision would make again: {listed(again)}")
    emptied = tuple(outcome.host for outcome in outcomes if outcome.result == "changed" and not outcome.sandbox)
    if emptied:
        call.output.note(f"installed packages (Docker, nginx, git) stay on {listed(emptied)}; pulled results stay here")
