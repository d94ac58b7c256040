"""Owns what is proved of sandboxes of pattern gondolin; a `pifleet.verify.Proof`.
It must not know how anything is asked or told."""

from __future__ import annotations

from dataclasses import replace

from pifleet.desired.gateway import SCRIPTED_PATH
from pifleet.fleet import Fleet, Sandbox
from pifleet.operate import Say
from pifleet.patterns.gondolin.desired import MODEL_PORT, PROXY, PROXY_PORT, START_SECONDS
from pifleet.report import Check
from pifleet.sandbox import Driver
from pifleet.verify import closed, found, parts
from pifleet.verify.found import Found
from pifleet.verify.rows import Rows

_GATEWAY = f"http://127.0.0.1:{MODEL_PORT}"
# What the pattern leaves open, whoever looks.
LEFT_OPEN = (
    ("disk", "not limited: workspace and home can fill the file system of the host that they lie on"),
    ("modes", "chmod and chown in the micro-VM change nothing in the workspace, and say nothing of it"),
    ("root", "every command in the micro-VM is its root's; what it writes into the workspace is the developer's"),
    ("pids", "limited for pi and the micro-VM together; the guest limits its own by its memory alone"),
    ("pi", "runs on the host, in a place without the workspace; its system calls are not filtered"),
    ("model", "sees what the agent sends it; the gateway does not look into it"),
)


def ask(fleet: Fleet, driver: Driver, box: Sandbox, say: Say) -> Found:
    outside = found.outside(driver, box, say)
    work = found.inside(driver, box, say, outside.get("bases"), health="", scripted="", place="work")
    # What needs the machine comes together, so that it is started once.
    beside_pi = found.inside(driver, box, say, {}, health=f"{_GATEWAY}/.pifleet/health",
                             scripted=_GATEWAY + SCRIPTED_PATH, place="agent", patience=START_SECONDS + found.PATIENCE)
    return Found(
        {**beside_pi, "repos": work.get("repos")}, outside,
        found.tried(fleet, driver, box, say, proxy=(PROXY, PROXY_PORT), kinds=(), place="tools"),
        found.reached(driver, box, say, parts.allowed(box, outside), f"http://{PROXY}:{PROXY_PORT}", place="tools"),
    )


def judge(fleet: Fleet, box: Sandbox, said: Found, rows: Rows) -> list[Check]:
    # The places of the host have no filter of system calls; all else is asked of them as of a container.
    rights = closed.rights(rows, {**said.inside, "seccomp": said.inside.get("no_new_privileges")})
    return [
        closed.user(rows, box.uid, said.inside),
        *(replace(row, text="cannot grow") if row.name == "privileges" and row.verdict == "pass" else row
          for row in rights),
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
