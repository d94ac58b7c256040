"""Owns the contract of a pattern: what it adds to a host's spec, and how a look at the host is held against that.
It must not reach a host; operating a sandbox that has been made is the work of its driver, in pifleet.sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Protocol

from pifleet.fleet import DOCKER, GONDOLIN, OPENSHELL, POD, Fleet, Host, Sandbox
from pifleet.plan import Json, Step, compare_host
from pifleet.report import Check
from pifleet.secret import Secret

# A secret's value by the name that a spec has for it; None for one that is not to be read now.
Read = Callable[[str], Secret | None]


class Pattern(Protocol):
    """One way to contain pi; `pifleet.patterns.NAME` is the module that is it.

    Shapes: a spec is `desired.host_spec`'s, `observed` the probe's answer about the same host.
    """

    def parts(self, host: Host) -> Sequence[str]:
        """The roles that a host of this pattern gets, in their order."""

    def extend(self, spec: dict[str, Any], fleet: Fleet, boxes: Sequence[Sandbox], clients: Mapping[str, Any]) -> None:
        """Add what a host needs for `boxes`, its sandboxes of this pattern; `clients` as for `host_spec`."""

    def complete(self, spec: dict[str, Any], read: Read, nonce: str) -> None:
        """Fill in what follows from secrets' values without telling them, `nonce` being that of the look to come."""

    def compare(self, spec: Json, observed: Json) -> Iterator[Step | None]:
        """A Step for each thing of this pattern that differs, None for each that agrees; unseen is never agreement."""

    def cut(self, spec: Json, observed: Json, steps: Sequence[Step]) -> dict[str, Any]:
        """The entries of the spec that are this pattern's own, with only what `steps` name."""

    def removal(self, fleet: Fleet, host: str, boxes: Sequence[Sandbox], stay: Sequence[Sandbox]) -> dict[str, Any]:
        """What the playbook that removes has to know of `boxes`, by the name it has there, each with its `id`; `stay`
        are all that are left on the host."""

    def paths(self, box: Sandbox) -> Sequence[PurePosixPath]:
        """Where a sandbox's own things lie on its host: of one that becomes another pattern's, those go that the other
        has not."""

    def services(self) -> list[dict[str, Any]]:
        """Every service that this pattern alone may have left on a host."""

    def seen(self, observed: Json, box: Sandbox) -> Json | None:
        """What was seen of a sandbox, at least its `agent`; None where it is not."""

    def titles(self, observed: Json, fleet: str) -> list[str] | None:
        """The titles of all sandboxes of a fleet that are there, also of those that left its inventory; None where what
        knows them does not say."""

    def needs(self, fleet: Fleet, host: str, observed: Json) -> Iterator[Check]:
        """What a host needs for this pattern, asked before anything is installed: doctor tells all of it.

        `fail` is what provision cannot mend, and so does nothing to such a host; plan tells `note` beside its steps.
        """


def pattern(name: str) -> Pattern:
    """The pattern of a sandbox or a host; loaded when asked for, since patterns are built from what names them."""
    return patterns()[name]


def seen_box(observed: Json, box: Sandbox) -> Json | None:
    """What a look at a host saw of a sandbox, whatever its pattern: at least its `agent`; None where it is not."""
    return pattern(box.pattern).seen(observed, box)


def compare(spec: Json, observed: Json) -> Iterator[Step | None]:
    """Everything of a host held against one look, also what a pattern left that the host no longer has."""
    yield from compare_host(spec, observed)
    for each in patterns().values():
        yield from each.compare(spec, observed)


def needs(fleet: Fleet, host: str, observed: Json) -> Iterator[Check]:
    """What each pattern of a host needs there."""
    for name in fleet.hosts[host].patterns:
        yield from pattern(name).needs(fleet, host, observed)


def patterns() -> Mapping[str, Pattern]:
    """Every pattern by its name, in the order in which a host gets them."""
    from pifleet.patterns import docker, gondolin, openshell, pod

    return {DOCKER: docker, GONDOLIN: gondolin, OPENSHELL: openshell, POD: pod}
