"""Owns what doctor asks of a host of pattern openshell: a kernel, an engine, and programs of the right version.
It must not change or look at anything itself."""

from __future__ import annotations

from collections.abc import Iterator

from pifleet.fleet import Fleet
from pifleet.plan import Json
from pifleet.report import Check
from pifleet.versions import numbers

# Landlock came with 5.13 (landlock(7)); whether it is switched on is asked of the kernel itself, by role preflight.
LANDLOCK_KERNEL = (5, 13)


def needs(fleet: Fleet, host: str, seen: Json) -> Iterator[Check]:
    """See `pifleet.patterns.Pattern`; and whether the gateway that is there is the right one."""
    version = fleet.openshell.version
    if fleet.hosts[host].gateway:
        yield _elsewhere(host, version, seen)
        return
    kernel = str(seen["kernel"])
    yield Check.of(host, "landlock", numbers(kernel)[:2] >= LANDLOCK_KERNEL, f"kernel {kernel}",
              "use kernel 5.13 or newer: older ones do not enforce the file system policy of sandboxes")
    engine, oldest = str(seen["engine"].get("version", "")), fleet.openshell.engine
    if seen["engine"].get("answers") and numbers(engine) < numbers(oldest):
        yield Check(host, "engine for openshell", "fail", f"Docker {engine}; OpenShell needs {oldest}",
                    try_=f"install Docker {oldest} or newer there before its first sandbox")
    programs, gateway = (seen["openshell"].get(key) or {} for key in ("programs", "gateway"))
    if not programs.get("gateway"):
        yield Check(host, "openshell", "warn", "no gateway is there; provision installs one", try_="pifleet provision")
        return
    right = programs.get("command") == gateway.get("version") == version
    text = f"command {programs.get('command') or 'missing'}, gateway {gateway.get('version') or 'silent'}"
    yield (Check(host, "openshell", "pass", text) if right else
           Check(host, "openshell", "warn", text, try_=f"pifleet provision brings both to {version}"))


def _elsewhere(host: str, version: str, seen: Json) -> Check:
    """Nobody here can bring a gateway that others run to another version."""
    programs, there = (seen["openshell"].get(key) or {} for key in ("programs", "gateway"))
    if not there.get("registered") or programs.get("command") != version:
        return Check(host, "gateway of others", "warn", "its client is not here yet", try_="pifleet provision")
    if not there.get("answers"):
        # No failure, which would leave the host alone: another address or certificate is brought by provision.
        return Check(host, "gateway of others", "warn", f"it does not answer: {there['error']}",
                     try_=f"see that it runs and its address leads there; pifleet openshell {host} -- status asks it")
    return Check.of(host, "gateway of others", there["version"] == version, f"version {there['version']}",
                    f"pifleet_openshell.version says {version}: pin its own, or ask whoever runs it")
