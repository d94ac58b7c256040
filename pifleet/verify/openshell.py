"""Owns what is proved of sandboxes of an OpenShell gateway; a `pifleet.verify.Proof`.
It must not know how anything is asked or told."""

from __future__ import annotations

from pifleet.egress import Destination
from pifleet.fleet import Fleet, Sandbox
from pifleet.operate import Say
from pifleet.patterns.openshell.desired import SANDBOX_UID
from pifleet.report import Check
from pifleet.sandbox import Driver
from pifleet.secret import Secret, SecretUnavailable
from pifleet.verify import closed, found, parts
from pifleet.verify.found import Found
from pifleet.verify.rows import Rows

_INFERENCE = "https://inference.local"
_ENVIRONMENTS_PROXY = ""
# Where a supervisor listens for what runs in its sandbox, whose network ends there (OpenShell: sandbox networking).
_SUPERVISOR = ("10.200.0.1", 3128)
# What the pattern leaves open, whoever looks.
LEFT_OPEN = (
    ("disk", "not limited: workspace and home can fill the file system of the host that they lie on"),
    ("kernel", "shared with the host: a flaw in it is not held off by this pattern"),
    ("model", "sees what the agent sends it; the gateway does not look into it"),
    ("pids", "limited for each sandbox of a gateway alike, not as the inventory says"),
    ("supervisor", "runs beside what it holds, as root of the same container"),
)


UNSOUGHT = "not searched for: its model has none, or it is not to be had here, or others run the gateway"


def ask(fleet: Fleet, driver: Driver, box: Sandbox, say: Say) -> Found:
    inside = found.inside(driver, box, say, {}, health="", scripted=_INFERENCE if _scripted(fleet, box) else "")
    outside = found.outside(driver, box, say, _keys(fleet, box))
    tried = found.tried(fleet, driver, box, say, proxy=_SUPERVISOR, kinds=found.ADDRESSES)
    return Found(inside, outside, tried, reached=found.reached(driver, box, say, _asked(box), _ENVIRONMENTS_PROXY))


def judge(fleet: Fleet, box: Sandbox, said: Found, rows: Rows) -> list[Check]:
    refused = said.inside.get("outside") is False
    return [
        closed.user(rows, SANDBOX_UID, said.inside),
        rows.check("policy", refused, "files outside are refused" if refused else "not enforced: outside is open"),
        closed.names_of_keys(rows, said.inside),
        closed.keys(rows, said.outside) if said.outside else rows.left_open("keys", UNSOUGHT),
        *closed.ways_out(rows, said.tried),
        *parts.egress(rows, _asked(box), said.reached, box.egress_sets),
        *(rows.note(f"clones from {one}", "not asked; only git gets there") for one in box.egress if one.clone),
        *parts.pi(rows, fleet, said.inside, prompted=_scripted(fleet, box)),
        *parts.repos(rows, box, said.inside),
        *(rows.left_open(name, text) for name, text in LEFT_OPEN),
    ]


def _keys(fleet: Fleet, box: Sandbox) -> list[Secret]:
    """The key of its model, where whoever verifies has it."""
    source = fleet.models[box.model].key
    try:
        return [source.read()] if source else []
    except SecretUnavailable:
        return []


def _asked(box: Sandbox) -> tuple[Destination, ...]:
    """What any program may ask for."""
    return tuple(one for one in box.egress if not one.clone)


def _scripted(fleet: Fleet, box: Sandbox) -> bool:
    """Whether its own model plays a script: it reaches no other that costs nothing."""
    return fleet.models[box.model].scripted
