"""Owns the difference between what a gateway should hold and what was seen of it: steps, each with its why.
It must not reach a gateway or know how a step is done."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pifleet.fleet import Sandbox
from pifleet.patterns.openshell.desired import GATEWAY_PART, SANDBOX_PART
from pifleet.patterns.openshell.elsewhere import CLIENT_PART
from pifleet.patterns.openshell.policy import fixed, network
from pifleet.plan import ABSENT, Json, Step, at_work, item


def compare(spec: Json, observed: Json) -> Iterator[Step | None]:
    """See `pifleet.patterns.Pattern`. Shapes: `extend`'s and those of module_utils/openshell.py."""
    wanted = spec["openshell"]
    if not wanted:
        return
    host, seen = str(spec["host"]), observed.get("openshell") or {}
    yield from (_gateway if wanted["gateway"]["own"] else _elsewhere)(host, wanted["gateway"], seen)
    image, unseen = (seen.get("image") or {}).get("id"), (observed.get("unknown") or {}).get("openshell", "")
    for workspace in () if unseen else wanted["workspaces"]:
        yield from _workspace(host, workspace, (seen.get("workspaces") or {}).get(workspace["name"]))
    for box in wanted["sandboxes"]:
        yield from _sandbox(host, box, _of(seen, box["workspace"], box["name"]), image, unseen)
    yield from _orphans(host, spec["fleet"], wanted["sandboxes"], seen)
    for name in seen.get("left") or ():
        yield Step("access", host, "", _key_of(name), "change", "nobody in the inventory works there any more",
                   SANDBOX_PART, {"key": True}, {"key": False})


def seen(observed: Json, box: Sandbox) -> Json | None:
    """See `pifleet.patterns.Pattern`; what the engine says of its container is among what the gateway says."""
    return _of(observed["openshell"], box.workspace, box.id)


def titles(observed: Json, fleet: str) -> list[str] | None:
    """See `pifleet.patterns.Pattern`."""
    seen = observed["openshell"]
    gateway = seen.get("gateway") or ABSENT
    if gateway.get("registered") and not gateway.get("answers"):
        return None
    return [_title(key, box) for key, box in (seen.get("sandboxes") or {}).items()
            if (box.get("labels") or {}).get("pifleet.fleet") == fleet]


def cut(spec: Json, observed: Json, steps: Sequence[Step]) -> dict[str, Any]:
    """See `pifleet.patterns.Pattern`; a sandbox may be ended only where a step says so."""
    wanted = spec["openshell"]
    if not wanted:
        return {}
    named = {step.sandbox for step in steps}
    replaced = {step.sandbox for step in steps if step.action == "replace"}
    stopped = {step.sandbox for step in steps if step.action == "stop"}
    orphans = []
    for key, box in (observed["openshell"].get("sandboxes") or {}).items():
        workspace, _, name = key.partition("/")
        if _title(key, box) in stopped:
            orphans.append({"workspace": workspace, "name": name, "labels": dict(box["labels"])})
    boxes = [{**box, "replace": box["title"] in replaced} for box in wanted["sandboxes"] if box["title"] in named]
    left = [{"name": name} for name in observed["openshell"].get("left") or ()
            if any(step.item == _key_of(name) for step in steps)]
    return {"openshell": {**wanted, "sandboxes": boxes, "orphans": orphans, "left": left}}


def _of(seen: Json, workspace: str, name: str) -> Json | None:
    found: Json | None = (seen.get("sandboxes") or {}).get(f"{workspace}/{name}")
    return found


def _title(key: str, box: Json) -> str:
    """The title of a sandbox that a gateway has; a label holds no slash."""
    return str((box.get("labels") or {}).get("pifleet.sandbox", key)).replace(".", "/", 1)


def _key_of(workspace: str) -> str:
    return f"key in workspace {workspace}"


def _gateway(host: str, wanted: Json, seen: Json) -> Iterator[Step | None]:
    version = wanted["version"]
    should = {"command": version, "gateway": version, "supervisor": True, "intact": True}
    yield item(host, "host", "openshell", GATEWAY_PART, should, seen.get("programs") or ABSENT)
    running: dict[str, Any] = {"answers": True, "version": version, "certificates": True, "registered": True}
    there = seen.get("gateway") or ABSENT
    if there.get("answers"):  # what is set for all of a gateway decides over what each sandbox may
        running |= {"settings": {}, "policy_of_all": False}
    yield _told(item(host, "host", "openshell gateway", GATEWAY_PART, running, there), there)
    image = {"base": wanted["image"]["hash"], "user": wanted["image"]["user"], "seed_name": True}
    yield item(host, "image", wanted["image"]["name"], "pi_image", image, seen.get("image") or ABSENT)


def _elsewhere(host: str, wanted: Json, seen: Json) -> Iterator[Step | None]:
    """A gateway that others run is as they run it: what differs of it is named, and no role changes it."""
    version = wanted["version"]
    yield item(host, "host", "openshell client", CLIENT_PART, {"command": version, "intact": True},
               seen.get("programs") or ABSENT)
    running = {"registered": True, "answers": True, "version": version, "policy_of_all": False}
    there = seen.get("gateway") or ABSENT
    yield _told(item(host, "host", "gateway of others", CLIENT_PART, running, {"policy_of_all": False, **there}), there)


def _told(step: Step | None, there: Json) -> Step | None:
    """The step with what was said instead of an answer."""
    return replace(step, why=f"{step.why}: {there['error']}") if step and there.get("error") else step


def _workspace(host: str, wanted: Json, seen: Json | None) -> Iterator[Step | None]:
    name, provider = wanted["name"], wanted["provider"]
    yield item(host, "access", f"workspace {name}", SANDBOX_PART, {"phase": "Active"}, seen or ABSENT)
    if not provider["name"]:  # this look reads no secret, so it cannot say which provider is the right one
        return
    there = (seen or ABSENT).get("providers", {}).get(provider["name"]) or ABSENT
    should = {"type": provider["type"], "credential_keys": [provider["credential"]],
              "config_keys": sorted(provider["config"])}
    yield item(host, "access", f"provider {name}", SANDBOX_PART, should, there)
    route = {"provider": provider["name"], "model": wanted["model"]}
    yield item(host, "access", f"route {name}", SANDBOX_PART, route, (seen or ABSENT).get("route") or ABSENT)


def _sandbox(host: str, box: Json, seen: Json | None, image: str | None, unseen: str) -> Iterator[Step | None]:
    def step(action: str, why: str, before: Json, after: Json, *, destructive: bool = False) -> Step:
        return Step("sandbox", host, box["title"], "sandbox", action, why, SANDBOX_PART, before, after, destructive)

    if seen is None or _gone(seen):
        why = "its container is gone" if seen else f"cannot be seen: {unseen}" if unseen else "sandbox is missing"
        yield from _repos(host, box, {})
        yield step("create", why, ABSENT, {"image": box["image"]})
        return
    if seen["phase"] == "Unknown":
        yield step("change", "its gateway does not answer", {"phase": "Unknown"}, {"phase": "Ready"})
        return
    # Under a policy of all nobody sees the sandbox's own; that it holds is the gateway's own step.
    policy = box["policy"] if seen.get("policy", {}) is None else seen.get("policy") or {}
    # Where the image is not there nobody can say whether this is it; the image's own step comes first.
    wanted = {"image": image or seen.get("image"), "cpus": box["cpus"], "memory": box["memory"], **fixed(box["policy"])}
    have = {"image": seen.get("image"), "cpus": seen.get("cpus"), "memory": seen.get("memory"), **fixed(policy)}
    before, after = _differences(wanted, have)
    lasting = seen["phase"] != "Error" and not after
    yield from _repos(host, box, (seen.get("repos") or {}) if lasting else {})
    if seen["phase"] == "Error":
        why = f"sandbox is in phase Error, which is final: {seen.get('reason') or 'no reason was given'}"
        yield step("replace", why, {"phase": "Error", **before}, {"phase": "Ready", **after})
    elif after:
        why = f"{', '.join(after)} {'differs' if len(after) == 1 else 'differ'}, and cannot be changed in place"
        yield step("replace", why, before, after, destructive=at_work(seen))
    else:
        yield _live(step, box, seen, policy)


def _gone(seen: Json) -> bool:
    """Whether a gateway lists a sandbox in which nothing is left."""
    return bool(seen["phase"] == "Error" and not seen.get("container"))


def _repos(host: str, box: Json, there: Json) -> Iterator[Step | None]:
    """What has to be cloned: with a new sandbox all of it."""
    for repo in box["repos"]:
        after = {"url": repo["url"], "ref": repo["ref"]}
        why = f"not there: {repo['url']} at {repo['ref']}"
        step = Step("repo", host, box["title"], repo["name"], "create", why, SANDBOX_PART, ABSENT, after)
        yield None if there.get(repo["name"]) else step


def _live(step: Any, box: Json, seen: Json, policy: Json) -> Step | None:
    """What is changed while the sandbox lives on."""
    wanted = {"phase": "Ready", "network_policies": network(box["policy"]), "settings": True, "set by hand": {}}
    have = {"phase": seen["phase"], "network_policies": network(policy),
            "settings": seen.get("settings") == _hashes(box["settings"]), "set by hand": seen.get("set")}
    before, after = _differences(wanted, have)
    if not after:
        return None
    why = f"sandbox is {seen['phase']}" if "phase" in after else f"{', '.join(after)} differs"
    made: Step = step("change", why, before, after)
    return made


def _hashes(texts: Json) -> dict[str, str]:
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def _differences(wanted: Json, have: Json) -> tuple[dict[str, Any], dict[str, Any]]:
    keys = [key for key in wanted if wanted[key] != have.get(key)]
    return {key: have.get(key) for key in keys}, {key: wanted[key] for key in keys}


def _orphans(host: str, fleet: str, wanted: list[Mapping[str, Any]], seen: Json) -> Iterator[Step | None]:
    known = {f"{box['workspace']}/{box['name']}" for box in wanted}
    for key, box in sorted((seen.get("sandboxes") or {}).items()):
        labels = box.get("labels") or {}
        if key in known or labels.get("pifleet.fleet") != fleet:
            continue
        title = _title(key, box)
        stopped = box["phase"] in ("Stopped", "Error")
        yield None if stopped else Step(
            "sandbox", host, title, "sandbox", "stop", "no longer in the inventory here; its data is kept",
            SANDBOX_PART, {"phase": box["phase"]}, {"phase": "Stopped"}, destructive=True,
        )
