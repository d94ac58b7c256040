"""Owns the checks of doctor: this machine, then each host by one look; every check is a row with the next command.
It must not change anything and never says a secret's value, only whether there is one."""

from __future__ import annotations

import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pifleet import content
from pifleet.desired import OLDEST_ENGINE, host_spec, secret_sources
from pifleet.errors import PifleetError, Trouble
from pifleet.events import Emit, silent
from pifleet.fleet import Fleet, Host
from pifleet.look import image_cache
from pifleet.observe import observe
from pifleet.patterns import needs
from pifleet.phrases import count, size
from pifleet.place import may_be_on
from pifleet.report import Check
from pifleet.secret import SecretUnavailable
from pifleet.selection import Selection
from pifleet.versions import numbers

OLDEST_PYTHON = (3, 11)
OLDEST_HOST_PYTHON = (3, 9)
CONTROLLER = "controller"


def controller_checks() -> Iterator[Check]:
    """What pifleet itself needs on this machine."""
    wanted = ".".join(map(str, OLDEST_PYTHON))
    yield _here("python", sys.version_info >= OLDEST_PYTHON, platform.python_version(),
                f"install Python {wanted} or newer and pifleet there")
    playbook = shutil.which("ansible-playbook", path=f"{sysconfig.get_path('scripts')}:{Path(sys.executable).parent}")
    yield _here("ansible-core", playbook is not None, metadata.version("ansible-core"),
                f"{sys.executable} -m pip install --force-reinstall ansible-core")
    yield _here("ansible content", content.root().joinpath("playbooks").is_dir(), str(content.root()),
                f"{sys.executable} -m pip install --force-reinstall pifleet")
    yield _here("ssh client", shutil.which("ssh") is not None, "ssh", "apt install openssh-client")


def fleet_checks(fleet: Fleet) -> Iterator[Check]:
    """What the inventory names outside itself: files of host keys, and the sources of secrets."""
    for path in sorted({host.connection.known_hosts for host in fleet.hosts.values()} - {""}):
        yield _here("known hosts", Path(path).is_file(), path, f"touch {path}")
    for name, source in secret_sources(fleet).items():
        try:
            source.read()
        except SecretUnavailable as error:
            yield Check(CONTROLLER, "secret", "fail", f"{name}: {error}", error.trouble.saw, error.trouble.try_)
        else:
            yield Check(CONTROLLER, "secret", "pass", f"{name} from {source.describe()}")


def summary(fleet: Fleet) -> Check:
    """The check that stands for a valid inventory."""
    people = len({box.developer for box in fleet.sandboxes})
    boxes = count(len(fleet.sandboxes), "sandbox", "sandboxes")
    text = f"{count(len(fleet.hosts), 'host')}, {count(people, 'developer')}, {boxes}"
    return Check(CONTROLLER, "inventory", "pass", text)


def host_checks(fleet: Fleet, selection: Selection, emit: Emit = silent) -> Iterator[Check]:
    """Every selected host, looked at side by side; one that does not answer has one failed check."""
    hosts = {name: host for name, host in fleet.hosts.items() if host.patterns and selection.has_host(name)}
    specs = {name: host_spec(fleet, name, may_be_on(fleet, name), image_cache()) for name in hosts}
    for name, answer in observe(specs, hosts, on_event=emit).items():
        if isinstance(answer, Trouble):
            yield Check(name, "reachable", "fail", answer.headline, answer.saw, answer.try_)
        else:
            pinned = [box.limits.memory for box in fleet.sandboxes if box.host == name]
            if hosts[name].cluster:
                yield from cluster_checks(hosts[name], answer.data["foreign"])
            else:
                yield from judge(name, answer.data, promised=sum(pinned))
            yield from needs(fleet, name, answer.data)


def cluster_checks(host: Host, foreign: Sequence[str]) -> Iterator[Check]:
    """Whether whoever the kubeconfig says may do all that pifleet does there, and has the namespaces for it."""
    from pifleet.kube.rights import lacking

    yield Check(host.name, "reachable", "pass", "its API server answers")
    for text in foreign:
        yield Check(host.name, "in the way", "fail", text, try_="name another pifleet_namespace")
    try:
        missing = lacking(host)
    except PifleetError as error:
        yield Check(host.name, "rights", "fail", error.trouble.headline, error.trouble.saw, error.trouble.try_)
        return
    yield Check.of(host.name, "rights", not missing, f"no right to {', '.join(missing)}" if missing else "all needed",
                   "use a context whose user may, or have it allowed")


def judge(host: str, seen: Mapping[str, Any], promised: int = 0) -> Iterator[Check]:
    """What one look says about a host; `promised` is the memory in bytes that sandboxes pinned to it may use."""
    yield Check(host, "reachable", "pass", "answers, and pifleet is root there")
    yield from _system(host, seen)
    yield from _room(host, seen, promised)
    yield _engine(host, seen["engine"])
    for text in seen["foreign"]:
        yield Check(host, "in the way", "fail", str(text), try_="rename it there, or the developer in the inventory")
    for part, why in seen["unknown"].items() if seen["engine"].get("answers") else ():
        yield Check(host, "seen", "warn", f"{part} could not be looked at", str(why), "pifleet plan")


def _system(host: str, seen: Mapping[str, Any]) -> Iterator[Check]:
    limits = _preflight()
    name, version = seen["os"].get("id", ""), str(seen["os"].get("version", ""))
    oldest: Mapping[str, str] = limits["preflight_systems"]
    # A distribution without a version number is its development branch, newer than all.
    known = name in oldest and (not version or numbers(version) >= numbers(oldest[name]))
    supported = " or ".join(f"{system} {number}" for system, number in sorted(oldest.items()))
    yield Check.of(host, "system", known, f"{name} {version}".strip(), f"use {supported} or newer")
    machines: Sequence[str] = limits["preflight_machines"]
    yield Check.of(host, "processor", seen["arch"] in machines, str(seen["arch"]), f"use {' or '.join(machines)}")
    yield Check.of(host, "python", numbers(seen["python"]) >= OLDEST_HOST_PYTHON, str(seen["python"]),
              "set ansible_python_interpreter to Python 3.9 or newer")


def _room(host: str, seen: Mapping[str, Any], promised: int) -> Iterator[Check]:
    limits = _preflight()
    for path, disk in seen["disk"].items():
        yield Check.of(host, "disk", disk["free"] >= limits["preflight_disk"], f"{size(disk['free'])} free in {path}",
                  f"free {size(limits['preflight_disk'])} there")
    memory = int(seen["memory"])
    if memory < limits["preflight_memory"]:
        yield Check(host, "memory", "fail", size(memory), try_=f"give it {size(limits['preflight_memory'])} or more")
    elif promised > memory:
        text = f"{size(memory)}; its sandboxes may use {size(promised)}"
        yield Check(host, "memory", "warn", text, try_="lower memory: in the inventory, or pin fewer sandboxes here")
    else:
        yield Check(host, "memory", "pass", size(memory))


def _engine(host: str, engine: Mapping[str, Any]) -> Check:
    if not engine.get("answers"):
        return Check(host, "engine", "warn", "no Docker engine answers; provision installs one",
                     str(engine.get("error", "")), "pifleet provision")
    version = str(engine.get("version", ""))
    return Check.of(host, "engine", numbers(version) >= numbers(OLDEST_ENGINE), f"Docker {version}",
               f"upgrade Docker to {OLDEST_ENGINE} or newer; pifleet never does that to a running engine")


def _here(name: str, good: bool, text: str, try_: str) -> Check:
    return Check.of(CONTROLLER, name, good, text, try_)


@cache
def _preflight() -> Mapping[str, Any]:
    """What the role preflight asks of a host, so that both ask the same."""
    import yaml

    text = (content.root() / "roles" / "preflight" / "defaults" / "main.yml").read_text(encoding="utf-8")
    limits: Mapping[str, Any] = yaml.safe_load(text)
    return limits
