"""Owns what a host of pattern gondolin is asked for before anything is installed: a processor, memory, a QEMU, and how
fast its machines will be. It must not change or look at anything itself."""

from __future__ import annotations

from collections.abc import Iterator

from pifleet.fleet import GONDOLIN, Fleet
from pifleet.patterns.gondolin.desired import OLDEST_QEMU
from pifleet.phrases import size
from pifleet.plan import Json
from pifleet.report import Check
from pifleet.versions import numbers

MACHINE = "x86_64"
# Ubuntu 22.04 has 6.2, Debian 11 has 5.2.
OLDEST_SYSTEMS = {"debian": "12", "ubuntu": "24.04"}


def needs(fleet: Fleet, host: str, seen: Json) -> Iterator[Check]:
    """See `pifleet.patterns.Pattern`."""
    there = seen["gondolin"]
    yield Check.of(host, "processor for gondolin", seen["arch"] == MACHINE,
                   f"{seen['arch']}; Node and the guest are made for {MACHINE}", f"use a {MACHINE} host")
    yield _memory(fleet, host, int(seen["memory"]))
    yield _qemu(host, str(there.get("qemu") or ""), seen["os"])
    yield _acceleration(host, str(there.get("acceleration") or "").partition(" ")[0], there_is=bool(there.get("kvm")))


def _memory(fleet: Fleet, host: str, memory: int) -> Check:
    """Whether the largest sandbox that has to be there fits, or where none has to, the smallest that may."""
    boxes = [box for box in fleet.sandboxes if box.pattern == GONDOLIN]
    pinned = [box.limits.memory for box in boxes if box.host == host]
    free = [box.limits.memory for box in boxes if not box.host]
    least = max(pinned) if pinned else min(free, default=0)
    return Check.of(host, "memory for gondolin", memory >= least,
                    f"{size(memory)}; a sandbox has {size(least)}" if least else size(memory),
                    "give it more, or the sandbox less with memory: in the inventory")


def _qemu(host: str, version: str, system: Json) -> Check:
    """The QEMU that is there, or whether the one that provision would install is new enough."""
    if version:
        return Check.of(host, "qemu", numbers(version) >= numbers(OLDEST_QEMU), f"QEMU {version}",
                        f"install QEMU {OLDEST_QEMU} or newer there")
    name, number = str(system.get("id", "")), str(system.get("version", ""))
    oldest = OLDEST_SYSTEMS.get(name, "")
    if oldest and number and numbers(number) < numbers(oldest):
        return Check(host, "qemu", "fail", f"the QEMU of {name} {number} is older than {OLDEST_QEMU}",
                     try_=f"use {name} {oldest} or newer")
    return Check(host, "qemu", "pass", "none is there; provision installs the distribution's")


def _acceleration(host: str, way: str, *, there_is: bool) -> Check:
    """What a boot proved, or what is known before one."""
    if way == "kvm":
        return Check(host, "acceleration", "pass", "a machine was booted with KVM")
    if way:
        return Check(host, "acceleration", "note", "machines are emulated: none boots with KVM there",
                     try_="let the host have KVM that works; commands are many times slower without")
    if there_is:
        return Check(host, "acceleration", "note", "there is a /dev/kvm; provision proves it by a boot")
    return Check(host, "acceleration", "note", "there is no /dev/kvm: machines will be emulated",
                 try_="let the host have KVM; commands are many times slower without")
