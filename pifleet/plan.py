"""Owns the difference between what should be and what was seen, as a value: steps, each with its why.
It must not reach a host, read a clock or a file; dry run, drift report and progress all read the same Plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pifleet.errors import Trouble

Json = Mapping[str, Any]

# What the engine can change in a running container (docs: Docker Engine API, "Update a container").
LIVE_FIELDS = frozenset({"cpus", "memory", "memory_swap", "pids", "restart"})
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
    """All steps for a fleet, what could not be looked at, and how many items were found as they should be."""

    steps: tuple[Step, ...] = ()
    unreachable: tuple[tuple[str, Trouble], ...] = ()
    blocked: tuple[tuple[str, Trouble], ...] = ()
    unchanged: int = 0

    def of(self, host: str) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.host == host)

    def as_json(self) -> dict[str, Any]:
        actions = [step.action for step in self.steps]
        counts = {action: actions.count(action) for action in ("create", "change", "replace", "stop", "remove")}
        return {
            "schema": "pifleet.plan/1",
            "steps": [step.as_json() for step in self.steps],
            "unreachable": [{"host": host, "error": trouble.as_json()} for host, trouble in self.unreachable],
            "blocked": [{"sandbox": title, "error": trouble.as_json()} for title, trouble in self.blocked],
            "summary": {**counts, "unchanged": self.unchanged, "unreachable": len(self.unreachable)},
        }


def compare_host(spec: Json, observed: Json) -> Iterator[Step | None]:
    """Hold every item of a host's spec against one look at it: a Step where they differ, None where they agree.

    Shapes: `desired.host_spec` and the probe's answer. What could not be seen is a step, never agreement.
    """
    host = str(spec["host"])
    yield _engine(host, spec["engine"], observed["engine"])
    yield _image(host, spec["image"], observed["images"])
    for user in spec["users"]:
        yield _user(host, user, observed["users"].get(user["name"]))
    for package in spec["packages"]:
        have = {"installed": True} if observed["packages"].get(package["name"]) else ABSENT
        yield _item(host, "host", f"package {package['name']}", package["part"], {"installed": True}, have)
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
    for socket in spec["sockets"]:
        yield _socket(host, socket, observed["sockets"].get(socket["path"]))
    for box in spec["sandboxes"]:
        yield from _sandbox(host, spec["image"], box, observed)
    yield from _orphans(host, spec, observed["containers"])


def _engine(host: str, wanted: Json, seen: Json) -> Step | None:
    have: dict[str, Any] = {"answers": bool(seen.get("answers"))}
    if have["answers"]:
        have["live_restore"] = bool(seen.get("live_restore"))
        have["at_least"] = _version(seen.get("version", "")) >= _version(wanted["minimum"])
    return _item(host, "host", "engine", "docker", {"answers": True, "live_restore": True, "at_least": True}, have)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split("-")[0].split(".") if part.isdigit())


def _image(host: str, wanted: Json, images: Json) -> Step | None:
    seen = images.get(wanted["name"])
    should = {"hash": wanted["hash"], "entrypoint": ["pi"], "workdir": "/workspace"}
    have: Json = {key: seen.get(key) for key in should} if seen else ABSENT
    return _item(host, "image", wanted["name"], "pi_image", should, have)


def _user(host: str, wanted: Json, seen: Json | None) -> Step | None:
    should = {"uid": wanted["uid"], "gid": wanted["uid"], "gecos": wanted["gecos"]}
    have: Json = {key: seen.get(key) for key in should} if seen else ABSENT
    return _item(host, "access", f"user {wanted['name']}", "developers", should, have)


def _path(host: str, entry: Json, wanted: Json, paths: Json) -> Step | None:
    seen = paths.get(entry["path"])
    have: Json = {key: seen.get(key) for key in wanted} if seen else ABSENT
    box = entry["sandbox"]
    return _item(host, "sandbox" if box else "host", entry["path"], entry["part"], wanted, have, sandbox=box)


def _service(host: str, wanted: Json, seen: Json | None) -> Step | None:
    should = {"running": True, "enabled": True, "defined": True}
    have = seen if seen and any(seen.values()) else ABSENT
    return _item(host, "host", f"service {wanted['name']}", wanted["part"], should, have)


def _socket(host: str, wanted: Json, seen: Json | None) -> Step | None:
    should = {"answers": True, "answer": wanted["answer"]}
    have = seen if seen and any(seen.values()) else ABSENT
    return _item(host, "sandbox", "model socket", "model_gateway", should, have, sandbox=wanted["sandbox"])


def _sandbox(host: str, image: Json, box: Json, observed: Json) -> Iterator[Step | None]:
    heads = observed["repos"].get(box["title"]) or {}
    for repo in box["repos"]:
        there = heads.get(repo["name"]) is not None
        why = "" if there else f"not cloned yet: {repo['url']} at {repo['ref']}"
        after = {"url": repo["url"], "ref": repo["ref"]}
        step = Step("repo", host, box["title"], repo["name"], "create", why, "sandbox_docker", ABSENT, after)
        yield None if there else step
    seen = observed["containers"].get(box["container"]["name"])
    image_id = (observed["images"].get(image["name"]) or {}).get("id")
    unseen = observed.get("unknown", {})
    reason = unseen.get("containers", unseen.get(f"containers/{box['container']['name']}", ""))
    yield _container(host, box, seen, image_id, reason)


def _container(host: str, box: Json, seen: Json | None, image_id: str | None, unseen: str) -> Step | None:
    wanted = {**box["container"], "image": image_id}
    if seen is None:
        after = {"image": box["container"]["image"]}
        why = f"cannot be seen: {unseen}" if unseen else "container is missing"
        return Step("sandbox", host, box["title"], "container", "create", why, "sandbox_docker", {}, after)
    differing = [key for key in wanted if wanted[key] != seen["spec"].get(key)]
    before, after = {key: seen["spec"].get(key) for key in differing}, {key: wanted[key] for key in differing}
    if set(differing) - LIVE_FIELDS:
        return Step(
            "sandbox", host, box["title"], "container", "replace", _differ(differing), "sandbox_docker",
            before, after, destructive=at_work(seen),
        )
    if seen["state"] != "running":
        before, after = {"state": seen["state"], **before}, {"state": "running", **after}
        differing = ["state", *differing]
    why = f"container is {seen['state']}" if differing[:1] == ["state"] else _differ(differing)
    step = Step("sandbox", host, box["title"], "container", "change", why, "sandbox_docker", before, after)
    return step if differing else None


def at_work(seen: Json) -> bool:
    """Whether pi is at work inside; what the probe could not see may be."""
    return seen["agent"] is None or bool(seen["agent"].get("processes"))


def _orphans(host: str, spec: Json, containers: Json) -> Iterator[Step | None]:
    wanted = {box["container"]["name"] for box in spec["sandboxes"]}
    for name, seen in sorted(containers.items()):
        if not seen or name in wanted or seen["spec"]["labels"].get("io.pifleet.fleet") != spec["fleet"]:
            continue
        title = str(seen["spec"]["labels"].get("io.pifleet.sandbox", name))
        stopped = seen["state"] in ("exited", "created", "dead")
        why = "no longer in the inventory here; its data is kept"
        yield None if stopped else Step(
            "sandbox", host, title, "container", "stop", why, "sandbox_docker",
            {"state": seen["state"]}, {"state": "exited"}, destructive=True,
        )


def _item(
    host: str, kind: str, item: str, part: str, wanted: Json, have: Json, *, sandbox: str = ""
) -> Step | None:
    differing = [key for key in wanted if wanted[key] != have.get(key)]
    if not differing:
        return None
    before, after = {key: have[key] for key in differing if key in have}, {key: wanted[key] for key in differing}
    action, why = ("change", _differ(differing)) if have else ("create", "missing")
    return Step(kind, host, sandbox, item, action, why, part, before, after)


def _differ(keys: list[str]) -> str:
    return f"{', '.join(keys)} {'differs' if len(keys) == 1 else 'differ'}"
