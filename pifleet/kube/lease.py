"""Owns that one controller at a time does something: a Lease of the cluster, renewed while it is held, and let go.
It must not know what is done meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from pifleet.errors import HostFailed
from pifleet.kube.client import Api, ApiRefused, Json, path

GROUP = "coordination.k8s.io/v1"
SECONDS = 30
RENEW_SECONDS = 8
HOLDER = "pifleet.io/holder"
OURS = {"app.kubernetes.io/managed-by": "pifleet"}
# A Lease's times are microseconds in UTC (k8s.io/apimachinery, "MicroTime").
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
Holder = Mapping[str, str]


class Busy(Exception):
    """Somebody else has it: `holder` as they told, empty where they did not."""

    def __init__(self, holder: Holder) -> None:
        super().__init__("busy")
        self.holder = holder


class Lease:
    """A Lease that is held from `take` to `let_go`; when it is lost meanwhile, `on_loss` is called, once.

    `mine` says who has it, since when and from where, and what for. By its "who" and "store" one's own is known that
    a broken line has left, and taken over at once; anybody's, once it was not renewed for 30 s by the server's clock.
    """

    def __init__(self, api: Api, namespace: str, name: str, mine: Holder) -> None:
        self._api, self._namespace, self._name, self._mine = api, namespace, name, mine
        self._version = ""
        self._done = threading.Event()
        self._renewer: threading.Thread | None = None

    def take(self, on_loss: Callable[[], None]) -> None:
        """Raises Busy, HostFailed."""
        for _ in range(3):
            there = self._api.get(self._path())
            if there and not self._may_take(there):
                raise Busy(holder_of(there))
            try:
                self._write(there)
            except ApiRefused as error:
                if error.code != 409:
                    raise
                continue  # somebody was there between look and write
            self._renewer = threading.Thread(target=self._renew, args=(on_loss,), daemon=True)
            self._renewer.start()
            return
        raise Busy({})

    def let_go(self) -> None:
        """Leave it to the next; safe to call twice. What cannot be let go now becomes anybody's in 30 s."""
        if self._renewer is None:
            return
        self._done.set()
        self._renewer.join(RENEW_SECONDS)
        self._renewer = None
        with suppress(HostFailed):
            body = {"kind": "DeleteOptions", "apiVersion": "v1",
                    "preconditions": {"resourceVersion": self._version}}
            self._api.request("DELETE", self._path(), body)

    def _renew(self, on_loss: Callable[[], None]) -> None:
        last = time.monotonic()
        while not self._done.wait(RENEW_SECONDS):
            try:
                self._write({"metadata": {"resourceVersion": self._version}})
                last = time.monotonic()
            except HostFailed as error:
                taken = isinstance(error, ApiRefused) and error.code in (404, 409)
                if taken or time.monotonic() - last > SECONDS:
                    on_loss()
                    return

    def _write(self, there: Json | None) -> None:
        now = self._api.now().strftime(_TIME)
        metadata: Json = {"name": self._name, "namespace": self._namespace, "labels": OURS,
                          "annotations": {HOLDER: json.dumps(dict(self._mine))}}
        if there:
            metadata["resourceVersion"] = there["metadata"]["resourceVersion"]
        body = {"apiVersion": GROUP, "kind": "Lease", "metadata": metadata,
                "spec": {"holderIdentity": self._mine["who"], "leaseDurationSeconds": SECONDS, "renewTime": now}}
        where = self._path() if there else path(GROUP, "leases", self._namespace)
        written = self._api.request("PUT" if there else "POST", where, body)
        self._version = str(written["metadata"]["resourceVersion"])

    def _may_take(self, there: Json) -> bool:
        theirs = holder_of(there)
        own = bool(self._mine.get("store")) and all(
            theirs.get(key) == self._mine.get(key) for key in ("who", "store"))
        return own or self._api.now() - _renewed(there) > timedelta(seconds=SECONDS)

    def _path(self) -> str:
        return path(GROUP, "leases", self._namespace, self._name)


def holder_of(lease: Json) -> dict[str, str]:
    """Who holds it, by their own words; anybody may have written them."""
    try:
        said: Any = json.loads(lease["metadata"]["annotations"][HOLDER])
    except (KeyError, TypeError, ValueError):
        return {}
    return {str(key): str(value)[:200] for key, value in said.items()} if isinstance(said, dict) else {}


def _renewed(lease: Json) -> datetime:
    try:
        return datetime.strptime(lease["spec"]["renewTime"], _TIME).replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
