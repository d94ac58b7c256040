"""Owns what each pattern promises of its sandboxes' inside, and where a proof finds the parts that it asks.
It must not ask or judge anything."""

from __future__ import annotations

from dataclasses import dataclass

from pifleet.desired.gateway import SCRIPTED_PATH
from pifleet.fleet import DOCKER, OPENSHELL, Fleet, Sandbox
from pifleet.patterns.docker.desired import MODEL_PORT
from pifleet.patterns.openshell.desired import SANDBOX_UID

# The forwarder of the sandbox's own keeper.
_GATEWAY = f"http://127.0.0.1:{MODEL_PORT}"
_INFERENCE = "https://inference.local"


@dataclass(frozen=True)
class Promise:
    """What holds for one sandbox.

    `health` is where the model gateway names its configuration, "" where only pi can ask for a model. `scripted` is
    where a model that plays a script is reached, "" where a prompt would cost. `closed` means no network but loopback,
    a root that cannot be written and no way out but the proxy's; elsewhere that is a matter of the pattern's policy,
    which is tried at a place that everybody else may write to.
    """

    uid: int
    health: str = ""
    scripted: str = ""
    closed: bool = True


def promise(fleet: Fleet, box: Sandbox) -> Promise:
    """What `box` is held against."""
    return _PROMISES[box.pattern](fleet, box)


def _docker(_: Fleet, box: Sandbox) -> Promise:
    return Promise(box.uid, health=f"{_GATEWAY}/.pifleet/health", scripted=_GATEWAY + SCRIPTED_PATH)


def _openshell(fleet: Fleet, box: Sandbox) -> Promise:
    scripted = _INFERENCE if fleet.models[box.model].scripted else ""
    return Promise(SANDBOX_UID, scripted=scripted, closed=False)


_PROMISES = {DOCKER: _docker, OPENSHELL: _openshell}
