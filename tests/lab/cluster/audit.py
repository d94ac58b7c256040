"""What the API server was asked, as its own audit log tells.

Owns the log's form; must not know which requests a test expects.
"""

import json
from dataclasses import dataclass
from pathlib import Path

WRITES = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True)
class Request:
    """One answered request; `resource` has its subresource, as `pods/exec`, and is empty for paths that are none."""

    verb: str
    resource: str
    namespace: str
    name: str
    status: int

    @property
    def writes(self) -> bool:
        return self.verb in WRITES


def requests(log: Path, user: str) -> list[Request]:
    """The requests of one user, oldest first; one that is still served counts from its first answer.

    Whoever came with credentials that are none has no name there.
    """
    events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    return [request(event) for event in events if event["user"].get("username") == user and first(event)]


def first(event: dict[str, object]) -> bool:
    """A watch and an exec are logged twice, once when they begin."""
    return event["stage"] == "ResponseStarted" or event["verb"] not in ("watch", "connect")


def request(event: dict[str, object]) -> Request:
    object_ = event.get("objectRef") or {}
    status = event.get("responseStatus") or {}
    assert isinstance(object_, dict)
    assert isinstance(status, dict)
    resource = "/".join(filter(None, [object_.get("resource", ""), object_.get("subresource", "")]))
    namespace, name = object_.get("namespace", ""), object_.get("name", "")
    return Request(str(event["verb"]), resource, namespace, name, int(status.get("code", 0)))
