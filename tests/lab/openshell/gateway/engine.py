"""The Docker engine as the test double asks it: HTTP over its unix socket, each call in a thread.

Owns the wire; must not know what a sandbox is.
"""

import asyncio
import http.client
import json
import socket
from typing import Any
from urllib.parse import quote, urlencode


class EngineError(Exception):
    """The engine's refusal: its status and its own words."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=120)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    """Calls by method and path; raises EngineError for every status from 400 on, and where no engine answers."""

    def __init__(self, path: str = "/var/run/docker.sock") -> None:
        self.path = path

    async def call(self, method: str, path: str, query: dict[str, Any] | None = None, body: Any = None) -> Any:
        return await asyncio.to_thread(self._call, method, path, query, body)

    def _call(self, method: str, path: str, query: dict[str, Any] | None, body: Any) -> Any:
        words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (query or {}).items()}
        connection = Connection(self.path)
        try:
            connection.request(method, f"/v1.41{quote(path)}?{urlencode(words)}", body and json.dumps(body),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except OSError as error:
            raise EngineError(503, f"Docker does not answer on {self.path}: {error}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise EngineError(answer.status, message(text))
        return decoded(text)

    async def pull(self, image: str) -> None:
        """Fetch an image; raises EngineError with the registry's last word."""
        name, _, tag = image.rpartition(":") if ":" in image.rsplit("/", 1)[-1] else (image, "", "latest")
        said = await self.call("POST", "/images/create", {"fromImage": name, "tag": tag})
        for line in said if isinstance(said, list) else [said or {}]:
            if "error" in line:
                raise EngineError(500, line["error"])


def message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError):
        return text.strip()


def decoded(text: str) -> Any:
    """One JSON value, or a list of those that stand on lines of their own."""
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
