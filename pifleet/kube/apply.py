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
from pifleet.kube.client import Api, ApiRefused, Json, path
from pifleet.kube.look import OURS
from pifleet.kube.seen import state
from pifleet.patterns.pod.fields import differences, put_right
from pifleet.patterns.pod.objects import key_of, resolved

# A kind that refuses another value of a field for ever is made anew; nothing that holds data is.
MADE_ANEW = ("StatefulSet", "Deployment", "RoleBinding", "Service")
UNPROCESSABLE, CONFLICT = 422, 409
TOKEN_BYTES = 32
# An API server that restarts is back within this; what was asked of it is asked again, and means the same.
BACK_SECONDS, PAUSE = 90, 1.0
GONE_SECONDS = 120
RUN_SECONDS, HOPELESS_SECONDS = 300, 20

Value = Callable[[Mapping[str, str]], str]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Change:
    """What was, or would be, done to one object: its name, and the fields in which it differed; none: it is new."""

    key: str
    fields: tuple[str, ...]


class Objects:
    """The objects of a cluster by their names in specs, each asked for once."""

    def __init__(self, api: Api) -> None:
        self._api, self._known = api, dict[str, Json | None]()

    def get(self, key: str) -> Json | None:
        if key not in self._known:
            self._known[key] = patiently(lambda: self._api.get(place_of(key)))
        return self._known[key]

    def keep(self, key: str, one: Json | None) -> None:
        self._known[key] = one


def have(api: Api, entries: Sequence[Json], tokens: str, value: Value, *, check: bool = False) -> list[Change]:
    """Have every object as its entry says, in order; answers what was not so, and with `check` changes nothing.

    `value` gives what a Secret holds from where its entry says it comes; `tokens` names the Secret with the sandboxes'
    tokens. Raises HostFailed.
    """
    objects, changes = Objects(api), []
    for entry in entries:
        key = key_of(entry["object"])
        wanted = resolved(entry["object"], objects)
        there = objects.get(key)
        if wanted["kind"] == "Secret":
            held = objects.get(f"Secret {tokens}")
            wanted = {**wanted, "data": _data(entry["values"], there, held, value)}
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
            made = api.request("PUT", place, right, query={"fieldManager": "pifleet"})
        except ApiRefused as error:
            if error.code != CONFLICT:
                raise
            made = patiently(lambda: api.request("GET", place))
    return made


def _data(values: Mapping[str, Mapping[str, str]], there: Json | None, tokens: Json | None, value: Value) -> Json:
    """A Secret's values; a token is the one that the gateway has, or a new one."""
    def text(source: Mapping[str, str]) -> str:
        if "token" not in source:
            return value(source)
        held = ((tokens or {}).get("data") or {}).get(source["token"])
        return base64.b64decode(held).decode() if held else secrets.token_hex(TOKEN_BYTES)

    return {name: base64.b64encode(text(source).encode()).decode() for name, source in values.items()}


def gone(api: Api, keys: Sequence[str]) -> list[str]:
    """Delete objects, and wait until they are gone; answers those that were there. Raises HostFailed."""
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
                                  content="application/merge-patch+json"))
    return True


def running(api: Api, names: Sequence[tuple[str, str]]) -> None:
    """Wait until pods (namespace, name) run, no longer than there is hope; who looks again says which do not."""
    began = dict.fromkeys(names, 0.0)

    def settled() -> bool:
        for name in list(began):
            pod = patiently(lambda name=name: api.get(path("v1", "pods", name[0], name[1])))  # type: ignore[misc]
            found = state(pod)[0] if pod else "missing"
            if found == "running":
                del began[name]
            elif found == "starting":
                began[name] = 0.0
            else:
                began[name] = began[name] or time.monotonic()
                if time.monotonic() - began[name] > HOPELESS_SECONDS:
                    del began[name]
        return not began

    until(settled, RUN_SECONDS)


def available(api: Api, key: str) -> bool:
    """Whether a Deployment came to run what it is to run, and nothing that it ran before, within a time."""
    def rolled_out() -> bool:
        one = patiently(lambda: api.get(place_of(key))) or {}
        status, spec = one.get("status") or {}, one.get("spec") or {}
        wanted = spec.get("replicas", 1)
        return bool(status.get("observedGeneration", 0) >= one.get("metadata", {}).get("generation", 1)
                    and status.get("updatedReplicas", 0) == wanted == status.get("availableReplicas", 0))

    return until(rolled_out, RUN_SECONDS)


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
