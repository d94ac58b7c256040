"""Owns asking what a proof is made of: programs of ours inside a sandbox, and its host; nothing of it is believed yet.
It must not judge, and must not know a pattern: each says where its parts are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pifleet.egress import Destination
from pifleet.fleet import Fleet, Sandbox
from pifleet.operate import Say
from pifleet.sandbox import WORKSPACE, Driver, Place
from pifleet.sandbox.inside import ask
from pifleet.secret import Secret
from pifleet.verify.targets import FORBIDDEN, Target, direct, names

SECONDS = 420
PATIENCE = 60
WORD = "pifleet-verified"
SOCKETS = ("model.sock", "egress.sock")
# The kinds of attempts that `escape_agent` knows.
EVERYTHING = ("network", "machine", "privileges")
# None of them: only what the request names, straight, through the proxy and by name.
ADDRESSES: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What was said: `inside` by the sandbox, `outside` by its host; `tried` and `reached` are the attempts to get
    where nobody may and where its list leads, None where none were made. All of it may have any shape."""

    inside: Mapping[str, Any] = field(default_factory=dict)
    outside: Mapping[str, Any] = field(default_factory=dict)
    tried: object = None
    reached: object = None


def outside(driver: Driver, box: Sandbox, say: Say, keys: Sequence[Secret] = ()) -> Mapping[str, Any]:
    """What only the host can say; `keys` are those that it does not have itself. Raises HostFailed."""
    say("looking for keys from outside")
    return driver.outside(box, keys)


def inside(
    driver: Driver, box: Sandbox, say: Say, bases: object, *, health: str, scripted: str, place: Place = "work",
    patience: int = PATIENCE,
) -> Mapping[str, Any]:
    """What the sandbox says of itself. `health` is where the model gateway names its configuration, "" where only pi
    can ask for a model; `scripted` where a model that plays a script is reached, "" where a prompt would cost; pi may
    take `patience` seconds with it."""
    say("asking inside")
    known = bases if isinstance(bases, dict) else {}
    request = {"workspace": WORKSPACE, "repos": {name: str(known.get(name, "")) for name in box.repos},
               "health": health, "scripted": scripted, "word": WORD, "patience": patience}
    return next(ask(driver, box, "verify", request, silence=SECONDS, place=place), {})


def tried(
    fleet: Fleet, driver: Driver, box: Sandbox, say: Say, *, proxy: tuple[str, int], kinds: Sequence[str],
    near: Sequence[Target] = (), place: Place = "work",
) -> object:
    """Every attempt of these kinds to get out; `proxy` is where the sandbox's own egress listens, `near` what stands
    beside the sandbox and is not for it."""
    say("trying to get out")
    straight = list(direct(fleet, box))
    request = {"tcp": [*FORBIDDEN, *straight, *near], "proxied": FORBIDDEN, "proxy": proxy, "own": SOCKETS,
               "names": names(straight), "kinds": list(kinds)}
    return next(ask(driver, box, "escape", request, silence=SECONDS, place=place), {}).get("attempts")


def reached(
    driver: Driver, box: Sandbox, say: Say, allowed: Sequence[Destination], proxy: str, place: Place = "work"
) -> object:
    """What each allowed destination answers through the proxy at this address; "" is the one of the environment."""
    if not allowed:
        return {}
    say("asking for what is allowed")
    request = {"proxy": proxy, "destinations": [[str(one), one.name, one.port, one.plain] for one in allowed]}
    return next(ask(driver, box, "reach", request, silence=SECONDS, place=place), {}).get("answers")
