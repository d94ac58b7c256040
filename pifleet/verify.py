"""Owns what a sandbox has to prove from inside: closed as promised, its parts whole, its model answering.
It must not change the sandbox, and costs nothing: only a scripted model is given a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pifleet.fleet import Fleet, Sandbox
from pifleet.operate import Act, Say
from pifleet.report import Check
from pifleet.sandbox import WORKSPACE, Driver
from pifleet.sandbox.inside import ask

# The forwarder of the sandbox's own keeper, and the path on which the gateway names its configuration.
HEALTH = "http://127.0.0.1:8100/.pifleet/health"
AGENT = "/opt/pifleet/etc"
WORD = "pifleet-verified"
SECONDS = 300


def verifier(fleet: Fleet) -> Act[list[Check]]:
    """The act of verifying one sandbox. Raises SandboxFailed when it does not run."""

    def act(driver: Driver, box: Sandbox, _: Say) -> list[Check]:
        driver.require_running(box)
        scripted = fleet.models[box.model].scripted
        request = {"workspace": WORKSPACE, "repos": box.repos, "health": HEALTH, "agent": AGENT,
                   "prompt": f"SAY {WORD}" if scripted else ""}
        return list(judge(fleet, box, next(ask(driver, box, "verify", request, silence=SECONDS), {})))

    return act


def judge(fleet: Fleet, box: Sandbox, found: Mapping[str, Any]) -> Iterator[Check]:
    """Hold what was found inside against what was promised."""
    again = f"pifleet provision --developer {box.developer}"

    def check(name: str, good: bool, text: str) -> Check:
        return Check(box.title, name, "pass", text) if good else Check(box.title, name, "fail", text, try_=again)

    uid, capabilities = found.get("uid"), str(found.get("capabilities"))
    yield check("user", uid == box.uid, f"runs as uid {uid}")
    yield check("capabilities", not capabilities.strip("0"), "none" if not capabilities.strip("0") else capabilities)
    interfaces = found.get("interfaces")
    yield check("network", interfaces == ["lo"], f"interfaces: {_listed(interfaces)}")
    yield check("root", found.get("read_only") is True, "read-only" if found.get("read_only") else "can be written")
    yield check("keys", found.get("keys") == [], f"in the environment: {_listed(found.get('keys'))}")
    yield check("model gateway", bool(found.get("model")), "answers" if found.get("model") else "does not answer")
    version = found.get("pi")
    yield check("pi", version == fleet.image.pi_version, f"{version}, pinned is {fleet.image.pi_version}")
    if fleet.models[box.model].scripted:
        answer = str(found.get("answer"))
        yield check("pi answers", WORD in answer, "a scripted model" if WORD in answer else f"said {answer[:100]!r}")
    repos = found.get("repos")
    for name in box.repos:
        head = repos.get(name) if isinstance(repos, dict) else None
        yield check(f"repo {name}", bool(head), f"whole, at {str(head)[:12]}" if head else "missing or damaged")


def _listed(names: object) -> str:
    return ", ".join(map(str, names)) or "none" if isinstance(names, list) else "unknown"
