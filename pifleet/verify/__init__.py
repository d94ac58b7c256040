"""Owns proving a sandbox: its pattern's proof is asked and judged. One module here for each pattern says what that is.
It must not change the sandbox, and costs nothing: only a scripted model is ever given a prompt."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from pifleet.fleet import DOCKER, GONDOLIN, OPENSHELL, POD, Fleet, Sandbox
from pifleet.operate import Act, Say
from pifleet.report import Check
from pifleet.sandbox import Driver
from pifleet.verify.found import Found
from pifleet.verify.rows import Rows

_PROOFS = {
    DOCKER: "pifleet.verify.docker", GONDOLIN: "pifleet.verify.gondolin", OPENSHELL: "pifleet.verify.openshell",
    POD: "pifleet.verify.pod",
}


class Proof(Protocol):
    """What one pattern lets be proved of its sandboxes."""

    def ask(self, fleet: Fleet, driver: Driver, box: Sandbox, say: Say) -> Found:
        """Everything that is looked at, inside and on the host, as it was said. Raises SandboxFailed, HostFailed."""

    def judge(self, fleet: Fleet, box: Sandbox, found: Found, rows: Rows) -> list[Check]:
        """What was found held against what the pattern promises, in the order in which a reviewer reads it; also what
        it leaves open. What a sandbox says is the word of one that may lie: the host's goes before it."""


def proof(pattern: str) -> Proof:
    """The proof of a pattern; loaded when asked for."""
    made: Proof = import_module(_PROOFS[pattern])
    return made


def verifier(fleet: Fleet) -> Act[list[Check]]:
    """The act of verifying one sandbox. Raises SandboxFailed when it does not run."""

    def act(driver: Driver, box: Sandbox, say: Say) -> list[Check]:
        driver.require_running(box)
        own = proof(box.pattern)
        return own.judge(fleet, box, own.ask(fleet, driver, box, say), Rows(box))

    return act
