"""The lab's scripted model over http, once open to any key and once for one key only.

Owns what reached "the provider"; must not know how requests got there.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.lab.hosts import Host

PORT, KEYED_PORT = 8100, 8101
LOG, KEY = "/srv/lab/model.log", "/srv/lab/model-key"


@dataclass(frozen=True)
class ModelServer:
    """A provider to point a fleet's models at."""

    host: Host

    @property
    def url(self) -> str:
        """Takes any key."""
        return f"http://{self.host.address}:{PORT}"

    @property
    def keyed_url(self) -> str:
        """Answers 401 to any key but the one that `require` named last."""
        return f"http://{self.host.address}:{KEYED_PORT}"

    def require(self, key: str) -> None:
        """Set the key that `keyed_url` wants from now on."""
        self.host.inside("tee", KEY, input=key)

    def requests(self) -> list[dict[str, Any]]:
        """All requests since the last `forget`, each with the keys that arrived in it as `auth`."""
        return [json.loads(line) for line in self.host.inside("cat", LOG).splitlines()]

    def forget(self) -> None:
        """Start an empty record."""
        self.host.inside("tee", LOG, input="")

    def prepare(self) -> None:
        """Have a record, and a key that nobody knows until one is required."""
        self.forget()
        self.host.inside("sh", "-c", f"[ -s {KEY} ] || cat /proc/sys/kernel/random/uuid > {KEY}")
