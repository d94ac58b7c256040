"""Owns bringing objects of a cluster to what a spec says, by server-side apply, and taking them away again.
It must not know why an object is wanted; values of Secrets come from whoever calls it and go nowhere else."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pifleet.errors import HostFailed
from pifleet.kube.client import MANAGER, MERGE, Api, ApiRefused, Json, path
from pifleet.kube.look import OURS
from pifleet.kube.pods import is_of, state_of, trouble_of, waits_for
from pifleet.patterns.pod.fields import differences, put_right
from pifleet.patterns.pod.objects import key_of, resolved
from pifleet.threads import side_by_side

# A kind that refuses another value of a field for ever is made anew; nothing that holds data is.
MADE_ANEW = ("StatefulSet", "Deployment", "RoleBinding", "Service")
UNPROCESSABLE, CONFLICT = 422, 409
TOKEN_BYTES = 32
# An API server that restarts is back within this; what was asked of it is asked again, and means the same.
BACK_SECONDS, PAUSE = 90, 1.0
GONE_SECONDS = 120
RUN_SECONDS, HOPELESS_SECONDS = 300, 20
# Connections by which a cluster is changed.
AT_ONCE = 8
# A controller that lost its API server comes back to it later than whoever asks it does, and makes pods only then.
UNMADE_SECONDS = 90

Value = Callable[[Mapping[str, str]], str]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Change:
    """What was, or would be, done to one object: its name, and the fields in which it differed; none: it is new."""

    key: str
    fields: tuple[str, ...]


class Objects:
    """The objects of a cluster by their names in specs, each asked for once. Safe for several threads."""

    def __init__(self, api: Api) -> None:
        self._api, self._known = api, dict[str, Json | None]()

    def get(self, key: str) -> Json | None:
        if key not in self._known:
            self._known[key] = patiently(lambda: self._api.get(place_of(key)))
        return self._known[key]

    def keep(self, key: str, one: Json | None) -> None:
        self._known[key] = one


def have(
    api: Api, objects: Objects, entries: Sequence[Json], tokens: str, value: Value, *, check: bool = False
) -> list[Change]:
    """Have every object as its entry says, in order; answers what was not so, and with `check` changes nothing.

    `objects` is what is known of the cluster, and is asked for nothing that a plan has seen missing. `value` gives what
    a Secret holds from where its entry says it comes; `tokens` names the Secret with the sandboxes' tokens. Raises
    HostFailed.
    """
    changes = []
    for entry in entries:
        key = key_of(entry["object"])
        wanted = resolved(entry["object"], objects)
        there = None if entry.get("missing") else objects.get(key)
        if wanted["kind"] == "Secret":
            held = objects.get(f"Secret {tokens}")
            wanted = {**wanted, "data": _data(entry["values"], held, value)}
        differing = differences(wanted, there) if there else {}
        if there and not differing:
            continue
        changes.append(Change(key, tuple(differing)))
        if not check:
            objects.keep(key, _made(api, key, wanted, there))
    return changes


def _made(api: Api, key: str, wanted: Json, there: Json | None) -> Json:
    place = place_of(key)
    try:
        made = patiently(lambda: api.apply(place, wanted))
    except ApiRefused as error:
        if error.code != UNPROCESSABLE or not there or wanted["kind"] not in MADE_ANEW:
            raise
        gone(api, [key])
        made = patiently(lambda: api.apply(place, wanted))
    for _ in range(3):
        # An apply leaves alone what somebody else has added; a replacement does not.
        if not differences(wanted, made):
            break
        try:
            right = put_right(wanted, {name: part for name, part in made.items() if name != "status"})
            made = patiently(lambda right=right: api.request(  # type: ignore[misc]
                "PUT", place, right, query={"fieldManager": MANAGER}))
        except ApiRefused as error:
            if error.code != CONFLICT:
                raise
            made = patiently(lambda: api.request("GET", place))
    return made


def _data(values: Mapping[str, Mapping[str, str]], tokens: Json | None, value: Value) -> Json:
    """A Secret's values; a token is the one that the gateway has, or a new one."""
    def text(source: Mapping[str, str]) -> str:
        if "token" not in source:
            return value(source)
        held = ((tokens or {}).get("data") or {}).get(source["token"])
        return base64.b64decode(held).decode() if held else secrets.token_hex(TOKEN_BYTES)

    return {name: base64.b64encode(text(source).encode()).decode() for name, source in values.items()}


def gone(api: Api, keys: Sequence[str]) -> list[str]:
    """Delete objects, and wait until they are gone; answers those that were there. Raises HostFailed.

    A namespace goes last, and not while a volume is claimed in it: that is work of a sandbox which is not among them.
    """
    namespaces = [key for key in keys if key.startswith("Namespace ")]
    went = _deleted(api, [key for key in keys if key not in namespaces])
    return went + _deleted(api, [key for key in namespaces if not _claims(api, key)])


def _claims(api: Api, namespace: str) -> list[Json]:
    at = path("v1", "persistentvolumeclaims", namespace.removeprefix("Namespace "))
    return patiently(lambda: list(api.listed(at)))


def _deleted(api: Api, keys: Sequence[str]) -> list[str]:
    went = [key for key in keys
            if patiently(lambda key=key: api.delete(place_of(key), propagationPolicy="Foreground"))]  # type: ignore[misc]
    until(lambda: all(patiently(lambda key=key: api.get(place_of(key))) is None for key in went),  # type: ignore[misc]
          GONE_SECONDS)
    return went


def scaled(api: Api, key: str, replicas: int) -> bool:
    """Whether a StatefulSet had another number of pods; it has this one now. Raises HostFailed."""
    there = patiently(lambda: api.get(place_of(key)))
    if not there or there["spec"].get("replicas", 1) == replicas:
        return False
    patiently(lambda: api.request("PATCH", f"{place_of(key)}/scale", {"spec": {"replicas": replicas}},
                                  content=MERGE))
    return True


def come_to_run(api: Api, sets: Sequence[Json]) -> dict[str, str]:
    """Wait until the pods of Deployments and StatefulSets run and are the newest, no longer than there is hope; what
    does not, by name, and why. Raises HostFailed."""
    waiting = {key_of(one): 0.0 for one in sets}
    why: dict[str, str] = {}

    def settled() -> bool:
        for key, (found, why[key]) in _rolled_out(api, list(waiting)).items():
            if found == "running":
                del waiting[key], why[key]
            elif found == "starting":
                waiting[key] = 0.0
            else:
                waiting[key] = waiting[key] or time.monotonic()
                if time.monotonic() - waiting[key] > (UNMADE_SECONDS if found == "missing" else HOPELESS_SECONDS):
                    del waiting[key]
        return not waiting

    until(settled, RUN_SECONDS)
    return why


def _rolled_out(api: Api, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    """How far Deployments and StatefulSets are, by their newest pods: running|starting|error|missing, and why.

    Two lists for all that are in one namespace.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        kind, _, name = key.partition(" ")
        places.setdefault((kind, name.partition("/")[0]), []).append(key)

    def seen(place: tuple[str, str]) -> list[tuple[str, tuple[str, str]]]:
        kind, namespace = place
        group, resource = OURS[kind]
        sets, pods = (patiently(lambda at=at: list(api.listed(at)))  # type: ignore[misc]
                      for at in (path(group, resource, namespace), path("v1", "pods", namespace)))
        there = {f"{kind} {namespace}/{one['metadata']['name']}": one for one in sets}
        return [(key, _how_far(kind, there.get(key), pods)) for key in places[place]]

    return dict(pair for found in side_by_side(list(places), seen, AT_ONCE) for pair in found)


def _how_far(kind: str, one: Json | None, pods: Sequence[Json]) -> tuple[str, str]:
    if not one:
        return "missing", "it is not there"
    if not one["spec"].get("replicas", 1):
        return "running", ""
    status, labels = one.get("status") or {}, one["spec"]["selector"]["matchLabels"].items()
    found = [(state_of(one, pod), trouble_of(pod) or waits_for(pod)) for pod in pods
             if labels <= pod["metadata"].get("labels", {}).items() and is_of(one, pod)
             and not pod["metadata"].get("deletionTimestamp")]
    newest = status.get("observedGeneration", 0) >= one["metadata"]["generation"] and (
        status.get("updatedReplicas") == len(found) == [name for name, _ in found].count("running"))
    # A sandbox is ready when its repositories are there, which come once it runs.
    if newest and (kind == "StatefulSet" or status.get("availableReplicas") == len(found)):
        return "running", ""
    return next(((name, why) for name, why in found if name == "error"),
                ("starting", "it takes its time") if found else ("missing", "no pod of it is there"))


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Whether something came true within the time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The answer to a question that may be asked more than once, also by way of a restart of the API server."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        try:
            return ask()
        except HostFailed as error:
            passing = error.code >= 500 or error.code == 429 if isinstance(error, ApiRefused) else error.unreachable
            if not passing or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


def place_of(key: str) -> str:
    """The path of an object by its name in specs."""
    kind, _, name = key.partition(" ")
    if kind == "Namespace":
        return path("v1", "namespaces", "", name)
    namespace, _, name = name.partition("/")
    group, resource = OURS.get(kind) or ("v1", "persistentvolumeclaims")
    return path(group, resource, namespace, name)
