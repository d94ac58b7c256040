"""Owns what a gateway's log says that a sandbox asked of the network, line by line, as its own command prints it.
It must not fetch a log; what stands in a line came from a sandbox and is believed only in its shape."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pifleet.egress import PORTS, Note, Verdict

# crates/openshell-cli/src/run.rs, print_log_line; the message is OCSF's short form (crates/openshell-ocsf).
_LINE = re.compile(r"\[(\d{1,12})\.\d{3}\] \[sandbox *\] \[OCSF *\] \[[a-z_]+\] ([A-Z]+):[A-Z]+ \[[A-Z]+\] "
                   r"(ALLOWED|DENIED) (.*)", re.ASCII)
_PLACE = re.compile(r".* -> ([a-z0-9._-]{1,253}):([0-9]{1,5}) \[", re.ASCII | re.IGNORECASE)
_REQUEST = re.compile(r"[A-Z]+ (https?://\S{1,2000}) \[", re.ASCII)


def note(line: str) -> Note | None:
    """What one line says: a connection, or a request that somebody looked at. None where it says neither."""
    found = _LINE.match(line)
    if not found:
        return None
    seconds, kind, word, rest = found.groups()
    place = _request(rest) if kind == "HTTP" else _connection(rest)
    if not place:
        return None
    verdict: Verdict = "allowed" if word == "ALLOWED" else "refused"
    return (*place, verdict), datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _connection(text: str) -> tuple[str, int] | None:
    found = _PLACE.match(text)
    return (found[1].lower(), int(found[2])) if found else None


def _request(text: str) -> tuple[str, int] | None:
    found = _REQUEST.match(text)
    try:
        parts = urlsplit(found[1]) if found else None
        return (parts.hostname, parts.port or PORTS[parts.scheme]) if parts and parts.hostname else None
    except ValueError:
        return None
