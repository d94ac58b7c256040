"""Owns judging the parts that every sandbox has, whatever closes it: its models, pi, its repositories, its egress list.
It must not ask anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pifleet.desired.egress import reach
from pifleet.egress import Destination
from pifleet.fleet import Fleet, Sandbox
from pifleet.report import Check
from pifleet.sandbox.verify_agent import PROOF
from pifleet.verify.found import WORD
from pifleet.verify.rows import Rows

Json = Mapping[str, Any]


def gateway(rows: Rows, inside: Json) -> Check:
    """The model gateway, asked from inside."""
    answers = bool(inside.get("model"))
    return rows.check("model gateway", answers, "answers" if answers else "does not answer")


def pi(rows: Rows, fleet: Fleet, inside: Json, *, prompted: bool) -> Iterator[Check]:
    """The pinned version, and that it works with a scripted model where it could be `prompted`."""
    version = inside.get("pi")
    yield rows.check("pi", version == fleet.image.pi_version, f"{version}, pinned is {fleet.image.pi_version}")
    if not prompted:
        yield rows.note("pi at work", "not tried: only a model that costs is reached from inside")
        return
    said = str(inside.get("answer"))
    good = f"{WORD}: {PROOF}" in said
    yield rows.check("pi at work", good, "a scripted model had it write and read a file; no key was used" if good
                     else f"said {said[:100]!r}")


def repos(rows: Rows, box: Sandbox, inside: Json) -> Iterator[Check]:
    """Each repository whole, with the commit that it began with."""
    seen = inside.get("repos")
    for name in box.repos:
        found = seen.get(name) if isinstance(seen, dict) else None
        found = found if isinstance(found, dict) else {}
        head, base = str(found.get("head") or "")[:12], found.get("base")
        text = "missing or damaged" if not head else f"whole, at {head}, " + (
            "holds its base" if base else "its base is not known" if base is None else "its base is gone")
        yield rows.check(f"repo {name}", bool(head) and base is not False, text)


def allowed(box: Sandbox, outside: Json) -> tuple[Destination, ...]:
    """Everything that its list means on its host, as that tells what its own clients are configured for."""
    clients = outside.get("clients")
    return reach(box, clients if isinstance(clients, dict) else {})


def egress(rows: Rows, allowed: Sequence[Destination], reached: object, sets: Sequence[str] = ()) -> Iterator[Check]:
    """Whether what the list allows is let through, and answers: the sandbox's word, which cannot open anything.

    What is refused although it is listed is a warning: the name leads where no list without `private: true` may.
    `sets` are those that it names besides, and of which nobody here knows what they mean.
    """
    if sets:
        yield rows.note(f"allowed: {', '.join(sets)}", "not asked; what these mean is its host's matter")
    elif not allowed:
        yield rows.check("allowed", True, "nothing but the model")
    if not allowed:
        return
    said = reached if isinstance(reached, dict) else {}
    ends: dict[str, list[str]] = {"answers": [], "silent": [], "refused": [], "": []}
    for one in map(str, allowed):
        ends[said[one] if said.get(one) in tuple(ends) else ""].append(one)
    text = f"{len(ends['answers'])} of {len(allowed)} answer"
    troubles = [f"{words}: {', '.join(ends[end])}" for end, words in (
        ("", "no way out at all"), ("refused", "refused, as what leads to a private address is without private: true"),
        ("silent", "let through, and nobody is there")) if ends[end]]
    if ends[""]:
        yield rows.check("allowed", False, text, "; ".join(troubles))
    elif troubles:
        yield rows.warn("allowed", text, "; ".join(troubles))
    else:
        yield rows.check("allowed", True, text, ", ".join(ends["answers"]))
    yield rows.left_open("egress", "by name and port; what is behind an address, under which other TLS name, "
                                   "cannot be seen")
