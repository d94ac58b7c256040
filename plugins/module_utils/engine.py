"""Owns how modules on a host speak to its Docker engine: HTTP over the engine's local socket, standard library only.
It must not know what any image or container is for."""

import contextlib
import http.client
import io
import json
import os
import socket
import tarfile
from urllib.parse import urlencode

SOCKETS = ("/run/docker.sock", "/var/run/docker.sock")
MEBIBYTE = 1 << 20


class EngineError(Exception):
    """The engine refused (`status` is its HTTP status) or was not reached (`status` is 0)."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status
        self.message = message


class Engine:
    """A client of the local engine; paths are those of the Docker Engine API (docs.docker.com/engine/api), unversioned.

    `timeout` is in seconds and bounds each wait on the socket, not a whole call.
    """

    def __init__(self, path="", timeout=60):
        self.path = path or next((known for known in SOCKETS if os.path.exists(known)), SOCKETS[0])
        self.timeout = timeout

    def get(self, path, query=None):
        """The decoded JSON (or text) of an answer. Raises EngineError."""
        return self._answer("GET", path, query)

    def post(self, path, body=None, query=None):
        """Like `get`; `body` is JSON data, or a readable binary file that is sent in chunks. Raises EngineError."""
        return self._answer("POST", path, query, body)

    def delete(self, path, query=None):
        """Like `get`. Raises EngineError."""
        return self._answer("DELETE", path, query)

    def find(self, path, query=None):
        """Like `get`, but None where the engine has no such thing."""
        try:
            return self.get(path, query)
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    def open(self, method, path, query=None, body=None):
        """The open `http.client.HTTPResponse` (a context manager), for answers of any size. Raises EngineError."""
        connection = _Connection(self.path, self.timeout)
        with self._trouble():
            response = self._send(connection, method, path + ("?" + urlencode(query) if query else ""), body)
            if response.status >= 400:
                with response:
                    raise EngineError(response.status, _message(response.read()))
        return response

    def messages(self, path, query=None, body=None):
        """The JSON messages that a long POST (build, pull, load) reports, one by one.

        Raises EngineError, also for an error that the engine reports in the middle with HTTP status 200.
        """
        with self._trouble(), self.open("POST", path, query, body) as response:
            for line in response:
                message = json.loads(line) if line.strip() else {}
                if "error" in message:
                    raise EngineError(response.status, message["error"].strip())
                yield message

    def _answer(self, method, path, query=None, body=None):
        with self._trouble(), self.open(method, path, query, body) as response:
            content = response.read()
            if response.headers.get_content_type() == "application/json" and content.strip():
                return json.loads(content)
            return content.decode("utf-8", "replace")

    @contextlib.contextmanager
    def _trouble(self):
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise EngineError(0, "Docker did not answer on %s: %s" % (self.path, reason)) from error

    @staticmethod
    def _send(connection, method, target, body):
        headers = {"Connection": "close"}
        if hasattr(body, "read"):
            headers["Content-Type"] = "application/x-tar"
        elif body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        # An engine that refuses an upload answers and hangs up before it has read all of it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, target, body, headers)
        return connection.getresponse()


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path, timeout):
        super().__init__("docker", timeout=timeout, blocksize=MEBIBYTE)
        self.socket_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)


def _message(content):
    try:
        return json.loads(content)["message"].strip()
    except (ValueError, KeyError, TypeError):
        return content.decode("utf-8", "replace").strip()


def packed(texts, mode=0o644):
    """Files as a tar archive, which is how an engine takes them."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, text in sorted(texts.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), mode
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()
