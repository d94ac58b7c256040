"""Owns asking one container of a pod a short question, and as much of what it prints as is wanted.
It must not know what is asked, and believes nothing of the answer."""

from __future__ import annotations

from collections.abc import Sequence

from pifleet.errors import PifleetError
from pifleet.fleet import Host
from pifleet.kube.client import Api
from pifleet.kube.exec import Pod, start
from pifleet.stream import StreamTimeout

SECONDS = 20
CHUNK = 1 << 16


def said(host: Host, pod: Pod, argv: Sequence[str], most: int = 1 << 14) -> str | None:
    """What a command inside prints, at most so many bytes; None where it did not come to a good end."""
    try:
        with Api(host) as api:
            stream = start(api, pod, argv, "/")
            try:
                stream.end()
                found = bytearray()
                while more := stream.read(CHUNK, SECONDS):
                    found += more[:most - len(found)]
                good = stream.wait(SECONDS) == 0
            finally:
                stream.close()
    except (PifleetError, StreamTimeout, OSError):
        return None
    return found.decode(errors="replace") if good else None
