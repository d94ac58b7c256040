"""Owns what doctor asks of a host of pattern gondolin: a processor, a QEMU, and a word on how fast machines will be.
It must not change or look at anything itself."""

from __future__ import annotations

from collections.abc import Iterator

from pifleet.fleet import Fleet
from pifleet.patterns.gondolin.desired import OLDEST_QEMU
from pifleet.plan import Json
from pifleet.report import Check
from pifleet.versions import numbers

MACHINE = "x86_64"
# Ubuntu 22.04 has 6.2, Debian 11 has 5.2.
OLDEST_SYSTEMS = {"debian": "12", "ubuntu": "24.04"}


def needs(_: Fleet, host: str, seen: Json) -> Iterator[Check]:
    """See `pifleet.patterns.Pattern`."""
    there = seen["gondolin"]
    yield Check.of(host, "processor for gondolin", seen["arch"] == MACHINE, str(seen["arch"]), f"use a {MACHINE} host")
    if version := str(there.get("qemu") or ""):
        yield Check.of(host, "qemu", numbers(version) >= numbers(OLDEST_QEMU), f"QEMU {version}",
                       f"install QEMU {OLDEST_QEMU} or newer there")
    else:
        yield _to_come(host, seen["os"])
    way = str(there.get("acceleration") or "").partition(" ")[0]
    if way == "kvm":
        yield Check(host, "acceleration", "pass", "a machine was booted with KVM")
    elif way:
        yield Check(host, "acceleration", "note", "machines are emulated: none boots with KVM there",
                    try_="let the host have KVM that works; commands are many times slower without")
    else:
        text = "there is a /dev/kvm; provision proves it by a boot" if there.get("kvm") else "there is no /dev/kvm"
        yield Check(host, "acceleration", "note", text)


def _to_come(host: str, system: Json) -> Check:
    """Whether the QEMU that provision would install is new enough."""
    name, version = str(system.get("id", "")), str(system.get("version", ""))
    oldest = OLDEST_SYSTEMS.get(name, "")
    if oldest and version and numbers(version) < numbers(oldest):
        return Check(host, "qemu", "fail", f"the QEMU of {name} {version} is older than {OLDEST_QEMU}",
                     try_=f"use {name} {oldest} or newer")
    return Check(host, "qemu", "note", "none is there; provision installs the distribution's")
