"""Owns handing secrets to a running playbook: a private unix socket that answers a name with its value.
It must not know what the values are for; nothing is written to disk and nothing is logged."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

LONGEST_NAME = 256
PATIENCE = 5.0


class Broker:
    """Answers while the `with` block runs. One request is a name and a line end; the answer is the value, then the end.

    An unknown name gets no answer. The socket lies in the run's 0700 folder and is 0600 itself.
    """

    def __init__(self, path: Path, answers: Mapping[str, str]) -> None:
        self.path = path
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._serve, name="pifleet-broker", daemon=True)

    def __enter__(self) -> Broker:
        self._listener.bind(str(self.path))
        self.path.chmod(0o600)
        self._listener.listen(64)
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        # Closing alone leaves accept() waiting; shutting down wakes it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                asker, _ = self._listener.accept()
            except OSError:
                return
            with asker:
                try:
                    asker.settimeout(PATIENCE)
                    asker.sendall(self._answers.get(_name(asker), "").encode())
                except (OSError, UnicodeDecodeError):
                    continue


def _name(asker: socket.socket) -> str:
    asked = b""
    while not asked.endswith(b"\n") and len(asked) < LONGEST_NAME:
        chunk = asker.recv(LONGEST_NAME)
        if not chunk:
            break
        asked += chunk
    return asked.rstrip(b"\n").decode()
