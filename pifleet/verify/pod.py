"""Owns what is proved of sandboxes that are pods of a cluster; a `pifleet.verify.Proof`.
It must not know how anything is asked or told."""

from __future__ import annotations

from pifleet.desired import egress
from pifleet.desired.gateway import SCRIPTED_PATH
from pifleet.desired.inside import EGRESS_PORT, MODEL_PORT
from pifleet.egress import Destination
from pifleet.fleet import Fleet, Sandbox
from pifleet.operate import Say
from pifleet.patterns.pod.objects import UID
from pifleet.report import Check
from pifleet.sandbox import Driver
from pifleet.verify import closed, found, parts
from pifleet.verify.found import Found
from pifleet.verify.rows import Rows

# The forwarders of the sandbox's own keeper.
_GATEWAY = f"http://127.0.0.1:{MODEL_PORT}"
_API = "the API server"
# What a pod sends on its own wire, where nothing shows whether anybody gets it.
_UNANSWERED = ("multicast", "broadcast")
# What the pattern leaves open, whoever looks.
LEFT_OPEN = (
    ("datagrams", "sent to all at once they leave the pod; who else gets them is its network's matter"),
    ("keys", "not searched for from outside: what is in a pod only the pod can say; no Secret with a key is in reach"),
    ("kernel", "shared with the node: a flaw in it is not held off without a RuntimeClass that does"),
    ("model", "sees what the agent sends it; the gateway does not look into it"),
    ("pids", "limited for each pod of a node alike, not as the inventory says"),
)


def ask(fleet: Fleet, driver: Driver, box: Sandbox, say: Say) -> Found:
    outside = found.outside(driver, box, say)
    inside = found.inside(driver, box, say, {}, health=f"{_GATEWAY}/.pifleet/health", scripted=_GATEWAY + SCRIPTED_PATH)
    proxy, near = ("127.0.0.1", EGRESS_PORT), [(_API, outside["api"], 443)] if "api" in outside else []
    tried = found.tried(fleet, driver, box, say, proxy=proxy, kinds=found.EVERYTHING, near=near)
    reached = found.reached(driver, box, say, _allowed(box), f"http://{proxy[0]}:{proxy[1]}")
    return Found(inside, outside, tried, reached)


def judge(fleet: Fleet, box: Sandbox, said: Found, rows: Rows) -> list[Check]:
    tried = said.tried
    if isinstance(tried, dict):
        tried = {name: how for name, how in tried.items() if name not in (f"tcp to {_API}", *_UNANSWERED)}
    return [
        closed.user(rows, UID, said.inside),
        *closed.rights(rows, said.inside),
        *closed.limits(rows, box, said.inside, ("memory", "cpus")),
        closed.names_of_keys(rows, said.inside),
        _network(rows, said.tried),
        *closed.ways_out(rows, tried),
        *parts.egress(rows, _allowed(box), said.reached),
        parts.gateway(rows, said.inside),
        *parts.pi(rows, fleet, said.inside, prompted=True),
        *parts.repos(rows, box, said.inside),
        *(rows.left_open(name, text) for name, text in LEFT_OPEN),
    ]


def _allowed(box: Sandbox) -> tuple[Destination, ...]:
    """Everything that its list means; in a cluster there are no clients that it could follow."""
    return egress.reach(box, egress.NOT_SEEN)


def _network(rows: Rows, tried: object) -> Check:
    """Whether the cluster's network keeps the policies: every pod finds the API server that is not kept from it."""
    said = tried.get(f"tcp to {_API}") if isinstance(tried, dict) else None
    if not isinstance(said, dict):
        return rows.warn("network", "whether it keeps the policies could not be tried")
    if said.get("refused") is True:
        return rows.check("network", True, f"{_API} is kept away, as its policies say")
    return rows.warn("network", f"{_API} is reached: nothing in this cluster enforces network policies")
