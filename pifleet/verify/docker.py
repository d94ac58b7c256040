"""Owns what is proved of sandboxes of pattern docker; a `pifleet.verify.Proof`.
It must not know how anything is asked or told."""

from __future__ import annotations

from pifleet.desired.gateway import SCRIPTED_PATH
from pifleet.desired.inside import EGRESS_PORT, MODEL_PORT
from pifleet.fleet import Fleet, Sandbox
from pifleet.operate import Say
from pifleet.report import Check
from pifleet.sandbox import Driver
from pifleet.verify import closed, found, parts
from pifleet.verify.found import Found
from pifleet.verify.rows import Rows

# The forwarders of the sandbox's own keeper.
_GATEWAY = f"http://127.0.0.1:{MODEL_PORT}"
_PROXY = f"http://127.0.0.1:{EGRESS_PORT}"
# What the pattern leaves open, whoever looks.
LEFT_OPEN = (
    ("disk", "not limited: workspace and home can fill the file system of the host that they lie on"),
    ("kernel", "shared with the host: a flaw in it is not held off by this pattern"),
    ("model", "sees what the agent sends it; the gateway does not look into it"),
)


def ask(fleet: Fleet, driver: Driver, box: Sandbox, say: Say) -> Found:
    outside = found.outside(driver, box, say)
    return Found(
        found.inside(driver, box, say, outside.get("bases"), health=f"{_GATEWAY}/.pifleet/health",
                     scripted=_GATEWAY + SCRIPTED_PATH),
        outside,
        found.tried(fleet, driver, box, say, proxy=("127.0.0.1", EGRESS_PORT), kinds=found.EVERYTHING),
        found.reached(driver, box, say, parts.allowed(box, outside), _PROXY),
    )


def judge(fleet: Fleet, box: Sandbox, said: Found, rows: Rows) -> list[Check]:
    return [
        closed.user(rows, box.uid, said.inside),
        *closed.rights(rows, said.inside),
        closed.network(rows, said.inside),
        *closed.limits(rows, box, said.inside),
        closed.names_of_keys(rows, said.inside),
        closed.keys(rows, said.outside),
        *closed.ways_out(rows, said.tried),
        *parts.egress(rows, parts.allowed(box, said.outside), said.reached),
        parts.gateway(rows, said.inside),
        *parts.pi(rows, fleet, said.inside, prompted=True),
        *parts.repos(rows, box, said.inside),
        *(rows.left_open(name, text) for name, text in LEFT_OPEN),
    ]
