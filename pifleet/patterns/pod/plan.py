"""Owns the difference between a cluster's objects as they should be and as they were seen: steps, each with its why.
It must not reach a cluster or know how a step is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pifleet.fleet import KUBE_LABEL, OWN_NAMESPACE, Sandbox
from pifleet.patterns.pod.fields import differences
from pifleet.patterns.pod.objects import CLUSTER_PART, POD_PART, key_of
from pifleet.plan import ABSENT, Json, Step, at_work

ACCESS = ("ServiceAccount", "Role", "RoleBinding")
# A StatefulSet's claims are for ever what they were when it was made.
FOR_EVER = "spec.volumeClaimTemplates"
SHOWN = 3
THERE, GONE = {"there": True}, {"there": False}


def compare(spec: Json, observed: Json) -> Iterator[Step | None]:
    """See `pifleet.patterns.Pattern`. Shapes: `desired.extend`'s and those of pifleet/kube/look.py."""
    wanted = spec["cluster"]
    if not wanted or observed["cluster"]["own"]:
        return
    host, there = str(spec["host"]), observed["cluster"]
    tokens = there["objects"].get(f"Secret {wanted['tokens']}", {}).get("data") or {}
    for entry in wanted["objects"]:
        yield _object(host, entry, there, tokens)
    for box in wanted["sandboxes"]:
        yield from _repos(host, box, there)
        yield _pod(host, box, there)
    yield from _orphans(host, wanted, there)
    yield from _surplus(host, wanted, there)


def seen(observed: Json, box: Sandbox) -> Json | None:
    """See `pifleet.patterns.Pattern`."""
    there = observed.get("cluster")
    if there and box.title in there["hidden"]:
        return {"replicas": None, "state": "unknown", "image": None, "agent": None}
    return _sandbox(there, box.title) if there else None


def titles(observed: Json, fleet: str) -> list[str]:
    """See `pifleet.patterns.Pattern`."""
    return [title for title, one in _sets(observed.get("cluster") or {"titles": {}})
            if (one["metadata"].get("labels") or {}).get(f"{KUBE_LABEL}fleet") == fleet]


def cut(spec: Json, observed: Json, steps: Sequence[Step]) -> dict[str, Any]:
    """See `pifleet.patterns.Pattern`."""
    wanted = spec["cluster"]
    if not wanted:
        return {}
    named = {step.sandbox for step in steps if step.action != "stop"}
    missing = {step.item for step in steps if step.action == "create"}
    stopped = {step.sandbox for step in steps if step.action == "stop"}
    orphans = [one["metadata"] for title, one in _sets(observed["cluster"]) if title in stopped]
    return {"cluster": {
        **wanted,
        "objects": [{**entry, "missing": key_of(entry["object"]) in missing} for entry in wanted["objects"]
                    if not entry["sandbox"] or entry["sandbox"] in named],
        "sandboxes": [box for box in wanted["sandboxes"] if box["title"] in named],
        "orphans": [{"namespace": one["namespace"], "name": one["name"]} for one in orphans],
        "surplus": [step.item for step in steps if step.after == GONE],
    }}


def _object(host: str, entry: Json, there: Json, tokens: Mapping[str, str]) -> Step | None:
    """`tokens` are the keyed hashes of the sandboxes' tokens as the gateway has them."""
    manifest = entry["object"]
    kind, key, box = manifest["kind"], key_of(manifest), entry["sandbox"]
    group = "sandbox" if box else "access" if kind in ACCESS else "host"
    found = there["objects"].get(key)
    if not found:
        return Step(group, host, box, key, "create", "missing", entry["part"])
    differing = {**differences(manifest, found, there["objects"]), **_values(entry, found, tokens)}
    if not differing:
        return None
    named = list(differing)
    why = f"{', '.join(named[:SHOWN])}" + (f" and {len(named) - SHOWN} more" if len(named) > SHOWN else "")
    why += " differs" if len(named) == 1 else " differ"
    ending = kind == "StatefulSet" and _runs(there, found) and any(
        path.startswith(("spec.template", FOR_EVER)) for path in differing)
    before = {path: was for path, (was, _) in differing.items()}
    after = {path: should for path, (_, should) in differing.items()}
    busy = ending and at_work(_sandbox(there, box) or ABSENT)
    return Step(group, host, box, key, "replace" if ending else "change", why, entry["part"], before, after, busy)


def _values(entry: Json, found: Json, tokens: Mapping[str, str]) -> dict[str, tuple[Any, Any]]:
    """What differs of a Secret's values, of which a look tells keyed hashes only."""
    if entry["object"]["kind"] != "Secret":
        return {}
    have = found.get("data") or {}
    differing: dict[str, tuple[Any, Any]] = {}
    for name, source in entry["values"].items():
        right = source.get("hmac") if "secret" in source else tokens.get(source["token"])
        if name not in have:
            differing[f"data.{name}"] = ("missing", "there")
        elif right not in (None, have[name]):
            differing[f"data.{name}"] = ("another value", "the right one")
    for name in have.keys() - entry["values"].keys():
        differing[f"data.{name}"] = ("there", "nothing")
    return differing


def _repos(host: str, box: Json, there: Json) -> Iterator[Step | None]:
    """What has to be cloned. Where the workspace is and nobody could look into it, that is not known to be missing."""
    known = there["repos"].get(box["title"])
    if known is None:
        known = {repo["name"]: _claimed(box, there) for repo in box["repos"]}
    for repo in box["repos"]:
        step = Step("repo", host, box["title"], repo["name"], "create",
                    f"not cloned yet: {repo['url']} at {repo['ref']}", POD_PART, {},
                    {"url": repo["url"], "ref": repo["ref"]})
        yield None if known.get(repo["name"]) else step


def _claimed(box: Json, there: Json) -> bool:
    return f"{box['namespace']}/workspace-{box['pod']}" in there["claims"]


def _pod(host: str, box: Json, there: Json) -> Step | None:
    """Whether what the StatefulSet is to run runs. One that is not as it should be is put right first."""
    running = there["pods"].get(f"{box['namespace']}/{box['pod']}")
    state, why = (running["state"], running["why"]) if running else ("missing", "")
    if state == "running":
        return None
    text = f"pod is {state}" + (f": {why}" if why else "")
    return Step("sandbox", host, box["title"], "pod", "change" if running else "create", text, POD_PART,
                {"state": state}, {"state": "running"})


def _sets(there: Json) -> Iterator[tuple[str, Json]]:
    """Each sandbox that is there: its title and its StatefulSet."""
    return ((title, there["objects"][key]) for key, title in there["titles"].items())


def _runs(there: Json, owner: Json) -> bool:
    """Whether somebody can be at work in what a StatefulSet is to run: what does not run is nobody's to end."""
    metadata = owner["metadata"]
    pod = there["pods"].get(f"{metadata['namespace']}/{metadata['name']}-0")
    return bool(pod and pod["state"] in ("running", "unknown"))


def _sandbox(there: Json, title: str) -> Json | None:
    """A sandbox that is there, by its StatefulSet; with nothing running in it nobody is at work."""
    for named, one in _sets(there):
        if named == title:
            metadata = one["metadata"]
            running = there["pods"].get(f"{metadata['namespace']}/{metadata['name']}-0")
            return {"replicas": one["spec"].get("replicas", 1), "state": running["state"] if running else "stopped",
                    "image": running["image"] if running else None,
                    "agent": running["agent"] if running else {}}
    return None


def _orphans(host: str, wanted: Json, there: Json) -> Iterator[Step | None]:
    known = {box["title"] for box in wanted["sandboxes"]}
    for title, one in _sets(there):
        if title in known:
            continue
        replicas = one["spec"].get("replicas", 1)
        why = "no longer in the inventory here; its data is kept"
        yield None if not replicas else Step("sandbox", host, title, key_of(one), "stop", why, POD_PART,
                                             {"replicas": replicas}, {"replicas": 0}, destructive=True)


def _surplus(host: str, wanted: Json, there: Json) -> Iterator[Step]:
    """What is ours and serves nobody any more, and holds nothing."""
    known = {key_of(entry["object"]) for entry in wanted["objects"]}
    own = wanted["tokens"].partition("/")[0]
    for key, one in sorted(there["objects"].items()):
        namespace = one["metadata"].get("namespace", "")
        # The same fleet may have other namespaces in this cluster, by another host of its inventory.
        if key in known or not namespace.startswith(own.removesuffix(OWN_NAMESPACE)):
            continue
        group, why = "host", ""
        if one["kind"] == "ConfigMap" and namespace == own:
            why = "no longer needed"
        elif one["kind"] == "RoleBinding":
            group, why = "access", "nobody who is in the inventory here has it"
        if why:
            yield Step(group, host, "", key, "change", why, CLUSTER_PART, THERE, GONE)
