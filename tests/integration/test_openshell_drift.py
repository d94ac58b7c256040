"""Damage made by hand on a gateway's host, its gateway and its sandboxes: named by plan, repaired, all work kept.

What does not get into each other's way is done at once, so that a run carries many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.openshell import until
from tests.integration.shells import HOST, STATE, TLS, Shells

REGISTRATION = "/var/lib/pifleet/openshell/client/config/openshell/gateways/pifleet"
BIN = "/usr/local/lib/pifleet/openshell"
TOML = "/etc/pifleet/openshell/gateway.toml"
UNIT = "/etc/systemd/system/pifleet-openshell.service"
SEED = "ghcr.io/nvidia/openshell-community/sandboxes/pi:latest"
IMAGE = "pifleet/pi-openshell"
WORK = """
cd /workspace/web && git config user.name a && git config user.email a@example.com
echo one > committed && git add committed && git commit -qm work && echo staged > staged && git add staged
echo draft > untracked && echo two > committed
"""
NOTES = "echo mine > /workspace/notes"
# Heads, changes and files, of repositories and of what lies beside them.
ALL_OF_IT = """
cd /workspace && for repo in */.git; do (cd ${repo%/.git} && git rev-parse HEAD && git status --porcelain=v2); done
find . -name .git -prune -o -type f -exec sha256sum {} + | sort
"""


@dataclass(frozen=True)
class Damage:
    """What is done, the item that the plan must name for it, what differs there, and the sandbox that it is about.

    Damages of one `batch` are done one after the other before anybody looks.
    """

    name: str
    batch: str
    do: Callable[[Shells], object]
    item: str
    differs: str = ""
    sandbox: str = ""


def root(script: str) -> Callable[[Shells], object]:
    return lambda shells: shells.as_root(script)


def hand(developer: str, *words: str) -> Callable[[Shells], object]:
    """A person's openshell command in a developer's workspace."""

    def act(shells: Shells) -> None:
        done = shells.pifleet("openshell", HOST, "--", *words, "--workspace", f"pi-{developer}")
        assert done.code == 0, done.err

    return act


def engine(developer: str, *words: str) -> Callable[[Shells], object]:
    """A person's docker command about a sandbox's container."""
    return lambda shells: shells.docker(HOST, *words, shells.container(developer))


def broken(developer: str, do: Callable[[Shells], object]) -> Callable[[Shells], object]:
    """The same, until the gateway has noticed it: where a container is gone, real ones list the sandbox or do not."""

    def act(shells: Shells) -> None:
        do(shells)
        until(lambda: shells.phase(developer) in ("Error", "missing"), seconds=60)

    return act


def end_main_process(developer: str) -> Callable[[Shells], object]:
    """Only the main process, which an agent can end too."""
    listed = "docker top {} -eo pid,args | awk '/pifleet.stay/ {{print $1}}'"
    return lambda shells: shells.as_root(f"kill -9 $({listed.format(shells.container(developer))})")


def another_provider(shells: Shells) -> None:
    hand("ana", "provider", "update", shells.provider("ana"), "--config", "SURPRISE=1")(shells)


def no_provider(shells: Shells) -> None:
    hand("ana", "inference", "delete")(shells)
    hand("ana", "provider", "delete", shells.provider("ana"))(shells)


def no_workspace(shells: Shells) -> None:
    provider = shells.provider("cy")
    for words in (("sandbox", "delete", "cy-main"), ("inference", "delete"), ("provider", "delete", provider)):
        hand("cy", *words)(shells)
    until(lambda: shells.pifleet("openshell", HOST, "--", "workspace", "delete", "pi-cy").code == 0, seconds=60)


def another_policy(shells: Shells) -> None:
    shells.set_policy("ana", {"network_policies": {"mine": {
        "name": "mine", "endpoints": [{"host": "example.com", "port": 443}], "binaries": [{"path": "/**"}]}}})


DAMAGES = [
    Damage("gateway.toml edited", "host", root(f"echo '# by hand' >> {TOML}"), TOML),
    Damage("unit edited", "host", root(f"echo '# by hand' >> {UNIT}"), "service pifleet-openshell", "defined"),
    Damage("an expired certificate", "host", Shells.expire_certificate, "openshell gateway", "certificates"),
    Damage("registered at another address", "host", root(f"sed -i s/17670/17677/ {REGISTRATION}/metadata.json"),
           "openshell gateway", "registered"),
    Damage("another command", "host", root(f"ln -sf /bin/true {BIN}/openshell"), "openshell", "command"),
    Damage("no gateway program", "host", root(f"rm {BIN}/openshell-gateway"), "openshell", "gateway"),
    Damage("no supervisor", "host", root(f"rm {BIN}/openshell-sandbox"), "openshell", "supervisor"),
    Damage("state open to others", "host", root(f"chmod 755 {STATE}"), STATE),
    Damage("the seed's image name gone", "host", root(f"docker rmi {SEED}"), IMAGE, "seed_name"),
    Damage("the unit stopped and disabled", "stopped", root("systemctl disable --now pifleet-openshell"),
           "service pifleet-openshell", "running"),
    Damage("a client without its key", "stopped", root(f"rm {REGISTRATION}/mtls/tls.key"), "openshell gateway",
           "registered"),
    Damage("a key of the gateway's gone", "stopped", root(f"rm {TLS}/jwt/signing.pem"), "openshell gateway",
           "certificates"),
    Damage("the client's account gone", "stopped", root("userdel -f _pifleet-client"), "user _pifleet-client"),
    Damage("a program written over", "stopped", root(f"echo >> $(readlink -f {BIN}/openshell-sandbox)"), "openshell",
           "intact"),
    Damage("the image's name gone", "stopped", root(
        f"docker images --format '{{{{.Repository}}}}:{{{{.Tag}}}}' {IMAGE} | xargs docker rmi"), IMAGE),
    Damage("a route gone", "gateway", hand("bo", "inference", "delete"), "route pi-bo"),
    Damage("a route to another model", "gateway",
           lambda shells: hand("cy", "inference", "set", "--provider", shells.provider("cy"), "--model", "other",
                               "--no-verify")(shells), "route pi-cy", "model"),
    Damage("a provider told of something else", "gateway", another_provider, "provider pi-ana", "config_keys"),
    Damage("a place added to a policy", "gateway", another_policy, "sandbox", "network_policies", "ana/main"),
    Damage("a setting of the gateway", "gateway", hand(
        "ana", "settings", "set", "--global", "--yes", "--key", "providers_v2_enabled", "--value", "true"),
        "openshell gateway", "settings"),
    Damage("a sandbox that may widen its policy itself", "gateway", hand(
        "bo", "settings", "set", "bo-main", "--key", "proposal_approval_mode", "--value", "auto"),
        "sandbox", "set by hand", "bo/main"),
    Damage("a sandbox stopped", "gateway", hand("cy", "sandbox", "stop", "cy-main"), "sandbox", "phase", "cy/main"),
    Damage("a policy of all", "all", lambda shells: shells.set_policy("ana", {}, "--global", "--yes"),
           "openshell gateway", "policy_of_all"),
    Damage("a provider gone", "all", no_provider, "provider pi-ana"),
    Damage("pi's settings written over", "all", lambda shells: shells.docker(
        HOST, "cp", "/etc/hostname", f"{shells.container('bo')}:/opt/pifleet/etc/settings.json"),
        "sandbox", "settings", "bo/main"),
    Damage("a container killed", "ended", broken("ana", engine("ana", "kill")), "sandbox", "phase", "ana/main"),
    Damage("a container removed", "ended", broken("bo", engine("bo", "rm", "-f")), "sandbox", "", "bo/main"),
    Damage("a workspace deleted with its sandbox", "ended", no_workspace, "workspace pi-cy"),
    Damage("a container paused", "lost", broken("ana", engine("ana", "pause")), "sandbox", "phase", "ana/main"),
    Damage("a sandbox deleted", "lost", hand("bo", "sandbox", "delete", "bo-main"), "sandbox", "", "bo/main"),
    Damage("a main process killed", "lost", broken("cy", end_main_process("cy")), "sandbox", "phase", "cy/main"),
    Damage("a gateway without its records", "forgotten", root(
        f"systemctl kill -s KILL pifleet-openshell; rm {STATE}/state/openshell/gateway/openshell.db*"),
        "sandbox", "phase", "ana/main"),
    Damage("a container given more memory", "limits", lambda shells: shells.docker(
        HOST, "update", "--memory", "2g", "--memory-swap", "4g", shells.container("cy")),
        "sandbox", "memory", "cy/main"),
    Damage("a repository removed", "limits", lambda shells: shells.inside("ana", "rm -rf /workspace/api"), "api", "",
           "ana/main"),
]
BATCHES = list(dict.fromkeys(damage.batch for damage in DAMAGES))


@dataclass(frozen=True)
class Repaired:
    """What the plan said before, how provision ended, what was left to do, and whether all work is there."""

    steps: list[dict[str, Any]]
    code: int
    said: str
    left: list[dict[str, Any]]
    lost: dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def work(shells: Shells) -> Shells:
    """Every sandbox holds work, and home has it."""
    shells.repaired()
    for developer, script in (("ana", WORK), ("bo", WORK), ("cy", NOTES)):
        shells.inside(developer, script)
    assert shells.pifleet("pull").code == 0
    return shells


def held(shells: Shells) -> dict[str, str]:
    return {name: shells.inside(name, ALL_OF_IT) for name in ("ana", "bo", "cy")}


@pytest.fixture(scope="module")
def repaired(work: Shells) -> Callable[[str], Repaired]:
    """Do a batch's damages and repair them; once, however many ask."""
    done: dict[str, Repaired] = {}

    def repair(batch: str) -> Repaired:
        if batch not in done:
            before = held(work)
            for damage in DAMAGES:
                if damage.batch == batch:
                    damage.do(work)
            steps = work.plan().json["steps"]
            run = work.provision()
            left, after = work.plan().json["steps"], held(work)
            lost = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
            done[batch] = Repaired(steps, run.code, run.err + run.out, left, lost)
        return done[batch]

    return repair


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damage_is_named(repaired: Callable[[str], Repaired], damage: Damage) -> None:
    steps = [step for step in repaired(damage.batch).steps
             if step["item"].split(":")[0] == damage.item and (step["sandbox"] or "") == damage.sandbox]

    assert steps, [(step["item"], step["why"]) for step in repaired(damage.batch).steps]
    assert not damage.differs or any(damage.differs in step["after"] for step in steps), steps


@pytest.mark.parametrize("batch", BATCHES)
def test_provision_repairs_it_and_all_work_is_there(repaired: Callable[[str], Repaired], batch: str) -> None:
    done = repaired(batch)

    assert done.code == 0, done.said
    assert done.left == []
    assert done.lost == {}
