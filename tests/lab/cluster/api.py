"""Calls to an API server by the standard library: what the lab's own controllers need, without pifleet's client.

Owns the connection and the form of a watch; must not know what is read or written by it.
"""

import base64
import http.client
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATCH = "application/merge-patch+json"
WATCH_SECONDS = 240
SETTLE_SECONDS = 0.05


class ApiError(Exception):
    """The API server answered no; `status` is the HTTP one."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status}: {said[:500]}")
        self.status = status


API_ERRORS = (ApiError, OSError, http.client.HTTPException)


class Api:
    """One API server as a kubeconfig of the lab's names it; each thread has a connection of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.address = urlsplit(cluster["server"])
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]))
            pair.flush()
            self.context.load_cert_chain(pair.name)
        self.own = threading.local()

    def connect(self, timeout: float) -> http.client.HTTPSConnection:
        host, port = self.address.hostname or "", self.address.port
        return http.client.HTTPSConnection(host, port, context=self.context, timeout=timeout)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request; the answer decoded, text where it is no JSON. Raises ApiError, or OSError without an answer."""
        if not hasattr(self.own, "connection"):
            self.own.connection = self.connect(30)
        kind = PATCH if method == "PATCH" else "application/json"
        try:
            content = None if body is None else json.dumps(body)
            self.own.connection.request(method, path, content, {"Content-Type": kind})
            answer = self.own.connection.getresponse()
            said = answer.read().decode()
        except (OSError, http.client.HTTPException):
            self.own.connection.close()
            raise
        if answer.status >= 300:
            raise ApiError(answer.status, said)
        return json.loads(said) if said.startswith("{") else said

    def items(self, path: str) -> list[dict[str, Any]]:
        return list(self.call("GET", path)["items"])

    def watch(self, path: str) -> Iterator[dict[str, Any] | None]:
        """Every event from now on, endlessly; None comes first and after each gap: only then is a new look needed."""
        while True:
            try:
                version = self.call("GET", f"{path}?limit=1")["metadata"]["resourceVersion"]
                yield None
                stream = self.connect(WATCH_SECONDS + 10)
                stream.request("GET", f"{path}?watch=1&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}")
                for line in stream.getresponse():
                    event = json.loads(line)
                    if event.get("type") == "ERROR" or "type" not in event:
                        break
                    yield event
            except (*API_ERRORS, ValueError):
                time.sleep(0.3)

    def changes(self, *paths: str) -> Iterator[None]:
        """Yield once now, then whenever something below these paths has changed; many changes at once count as one."""
        changed = threading.Event()

        def follow(path: str) -> None:
            for _ in self.watch(path):
                changed.set()

        for path in paths:
            threading.Thread(target=follow, args=[path], daemon=True).start()
        while True:
            changed.wait()
            time.sleep(SETTLE_SECONDS)
            changed.clear()
            yield
