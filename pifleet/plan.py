"""Owns the difference between what should be and what was seen, as a value: steps, each with its why.
It must not reach a host, read a clock or a file; dry run, drift report and progress all read the same Plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pifleet.errors import Trouble
from pifleet.report import Check
from pifleet.versions import numbers

Json = Mapping[str, Any]

ABSENT: Json = {}
# What ends a sandbox where it is; its work has to be home before.
ENDING = ("replace", "remove")


@dataclass(frozen=True)
class Step:
    """One change. `kind` is host|image|repo|sandbox|access, `action` create|change|replace|stop|remove.

    `part` is the role that does it; `destructive` means that something that runs is ended.
    """

    kind: str
    host: str
    sandbox: str
    item: str
    action: str
    why: str
    part: str
    before: Json = field(default_factory=dict, hash=False)
    after: Json = field(default_factory=dict, hash=False)
    destructive: bool = False

    @property
    def id(self) -> str:
        return "/".join(filter(None, (self.host, self.kind, self.sandbox, self.item)))

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "kind": self.kind, "host": self.host, "sandbox": self.sandbox, "item": self.item,
            "action": self.action, "why": self.why, "before": dict(self.before), "after": dict(self.after),
            "destructive": self.destructive,
        }


@dataclass(frozen=True)
class Plan:
    """All steps for a fleet, what could not be looked at, and how many items were found as they should be.

    `unfit` are hosts that cannot carry their pattern whatever is installed there, and so have no step; `notes` are what
    somebody should know of a host before its steps are done.
    """

    steps: tuple[Step, ...] = ()
    unreachable: tuple[tuple[str, Trouble], ...] = ()
    blocked: tuple[tuple[str, Trouble], ...] = ()
    unchanged: int = 0
    unfit: tuple[tuple[str, Trouble], ...] = ()
    notes: tuple[Check, ...] = ()

    def of(self, host: str) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.host == host)

    def as_json(self) -> dict[str, Any]:
        actions = [step.action for step in self.steps]
        counts = {action: actions.count(action) for action in ("create", "change", "replace", "stop", "remove")}
        return {
            "schema": "pifleet.plan/1",
            "steps": [step.as_json() for step in self.steps],
            "unreachable": [{"host": host, "error": trouble.as_json()} for host, trouble in self.unreachable],
            "unfit": [{"host": host, "error": trouble.as_json()} for host, trouble in self.unfit],
            "notes": [note.as_json() for note in self.notes],
            "blocked": [{"sandbox": title, "error": trouble.as_json()} for title, trouble in self.blocked],
            "summary": {**counts, "unchanged": self.unchanged, "unreachable": len(self.unreachable)},
        }


def compare_host(spec: Json, observed: Json) -> Iterator[Step | None]:
    """Hold what every pattern shares of a host's spec against one look: a Step where they differ, None where not.

    Shapes: `desired.host_spec` and the probe's answer. What could not be seen is a step, never agreement.
    """
    host = str(spec["host"])
    if "docker" in spec["parts"]:
        yield _engine(host, spec["engine"], observed["engine"])
    if "pi_image" in spec["parts"]:
        yield _image(host, spec["image"], observed["images"])
    for user in spec["users"]:
        yield _user(host, user, observed["users"].get(user["name"]))
    for package in spec["packages"]:
        have = {"installed": True} if observed["packages"].get(package["name"]) else ABSENT
        yield item(host, "host", f"package {package['name']}", package["part"], {"installed": True}, have)
    for folder in spec["dirs"]:
        wanted = {"type": "dir", **{key: folder[key] for key in ("mode", "uid", "gid")}}
        yield _path(host, folder, wanted, observed["paths"])
    for file in spec["files"]:
        wanted = {"type": "file", "mode": file["mode"], "uid": 0, "gid": 0, "sha256": file["sha256"]}
        yield _path(host, file, wanted, observed["paths"])
    for secret in spec["secrets"]:
        wanted = {"type": "file", "mode": secret["mode"], "uid": 0, "gid": 0, "hmac": secret["hmac"]}
        yield _path(host, {**secret, "sandbox": ""}, wanted, observed["paths"])
    for service in spec["services"]:
        yield _service(host, service, observed["services"].get(service["name"]))
    named = {service["name"] for service in spec["services"]}
    for name in sorted(set(observed["services"]) - named):
        yield Step("host", host, "", f"service {name}", "change", "no longer needed", "model_gateway",
                   {"running": True}, {"running": False})
    for socket in spec["sockets"]:
        yield _socket(host, socket, observed["sockets"].get(socket["path"]))
    for entry in spec["filters"]:
        yield _filter(host, entry, observed["filters"].get(entry["rules"]))
    for name in spec["clients"]:
        yield _client(host, name, observed["clients"].get(name), observed.get("unknown", {}))


def _engine(host: str, wanted: Json, seen: Json) -> Step | None:
    have: dict[str, Any] = {"answers": bool(seen.get("answers"))}
    if have["answers"]:
        have["live_restore"] = bool(seen.get("live_restore"))
        have["at_least"] = numbers(seen.get("version", "")) >= numbers(wanted["minimum"])
    return item(host, "host", "engine", "docker", {"answers": True, "live_restore": True, "at_least": True}, have)


def _image(host: str, wanted: Json, images: Json) -> Step | None:
    seen = images.get(wanted["name"])
    should = {"hash": wanted["hash"], "entrypoint": ["pi"], "workdir": "/workspace"}
    have: Json = {key: seen.get(key) for key in should} if seen else ABSENT
    return item(host, "image", wanted["name"], "pi_image", should, have)


def _user(host: str, wanted: Json, seen: Json | None) -> Step | None:
    should = {"uid": wanted["uid"], "gid": wanted["uid"], "gecos": wanted["gecos"]}
    have: Json = {key: seen.get(key) for key in should} if seen else ABSENT
    return item(host, "access", f"user {wanted['name']}", "developers", should, have)


def _path(host: str, entry: Json, wanted: Json, paths: Json) -> Step | None:
    seen = paths.get(entry["path"])
    have: Json = {key: seen.get(key) for key in wanted} if seen else ABSENT
    box = entry["sandbox"]
    return item(host, "sandbox" if box else "host", entry["path"], entry["part"], wanted, have, sandbox=box)


def _service(host: str, wanted: Json, seen: Json | None) -> Step | None:
    should = {"running": True, "enabled": True, "defined": True, "current": True}
    have = seen if seen and any(seen.values()) else ABSENT
    return item(host, "host", f"service {wanted['name']}", wanted["part"], should, have)


def _socket(host: str, wanted: Json, seen: Json | None) -> Step | None:
    should = {"answers": True, "answer": wanted["answer"]}
    have = seen if seen and any(seen.values()) else ABSENT
    return item(host, "sandbox", wanted["item"], wanted["part"], should, have, sandbox=wanted["sandbox"])


def _filter(host: str, wanted: Json, seen: Json | None) -> Step | None:
    loaded = bool(seen and seen["loaded"])
    why = f"the kernel's rules are not those of {wanted['rules']}"
    action, before = ("change", {"loaded": False}) if seen else ("create", ABSENT)
    step = Step("host", host, "", "packet filter", action, why, wanted["part"], before, {"loaded": True})
    return None if loaded else step


def _client(host: str, name: str, seen: Json | None, unknown: Json) -> Step | None:
    """A set that follows the host's client opens nothing while nobody can tell where that client goes."""
    why = seen["why"] if seen else f"cannot be seen: {unknown.get(f'clients/{name}', 'nobody looked')}"
    step = Step("host", host, "", f"egress set {name}", "create", why, "egress_proxy", ABSENT, {"known": True})
    return step if why else None


def repos(host: str, box: Json, observed: Json, part: str) -> Iterator[Step | None]:
    """A step for each repository that a sandbox does not have yet; one that is there is never touched."""
    heads = observed["repos"].get(box["title"]) or {}
    for repo in box["repos"]:
        after = {"url": repo["url"], "ref": repo["ref"]}
        why = f"not cloned yet: {repo['url']} at {repo['ref']}"
        missing = heads.get(repo["name"]) is None
        yield Step("repo", host, box["title"], repo["name"], "create", why, part, ABSENT, after) if missing else None


def at_work(seen: Json) -> bool:
    """Whether pi is at work inside; what the probe could not see may be."""
    agent = seen.get("agent")
    return agent is None or bool(agent.get("processes"))


def item(
    host: str, kind: str, item: str, part: str, wanted: Json, have: Json, *, sandbox: str = ""
) -> Step | None:
    """The step that brings one thing to `wanted`, or None where it is so; `have` is empty where there is nothing."""
    differing = [key for key in wanted if wanted[key] != have.get(key)]
    if not differing:
        return None
    before, after = {key: have[key] for key in differing if key in have}, {key: wanted[key] for key in differing}
    action, why = ("change", differ(differing)) if have else ("create", "missing")
    return Step(kind, host, sandbox, item, action, why, part, before, after)


def differ(keys: list[str]) -> str:
    """`cpus differs`, `cpus, memory differ`."""
    return f"{', '.join(keys)} {'differs' if len(keys) == 1 else 'differ'}"
