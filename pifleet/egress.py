"""Owns what an entry of `egress:` means: names, ports and the sets that follow a host's own clients, as plain values.
It must not know squid, nginx or how an inventory is read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

# The sets that mean what a host's own clients are configured for.
HOST_SETS = ("pip", "npm", "apt")
TLS_PORT, PLAIN_PORT = 443, 80
PORTS = {"http": PLAIN_PORT, "https": TLS_PORT}
# One request that was made: name, port and what became of it, and when (UTC, ISO 8601).
Verdict = Literal["allowed", "refused", "failed"]
Note = tuple[tuple[str, int, Verdict], str]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"\.?{_LABEL}(?:\.{_LABEL})*")
FORMS = 'use "host", "host:port", ".domain", {to: "host:port", private: true} or the name of a set'
OPTIONS = ("private", "clone")
# Not reachable from the whole internet (IANA's special-purpose address registries), and where clouds keep metadata
# (168.63.129.16 is Azure's). Documentation ranges stay out: they are as good as any other address in a test network.
PRIVATE4 = (
    "10.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.168.0.0/16", "198.18.0.0/15",
)
# With the ranges that carry an IPv4 address inside (NAT64, 6to4, Teredo), since that may be a private one.
PRIVATE6 = ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10")
NEVER4 = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")
NEVER6 = ("::/96", "::ffff:0:0/96", "ff00::/8")


class NotAnEntry(ValueError):
    """An entry that means nothing; the message says what would be right."""


@dataclass(frozen=True, order=True)
class Destination:
    """One name and port that a sandbox may reach; `.name` is a domain with everything below it.

    `plain` is http without a tunnel; `private` also lets the name lead to a private, link-local or metadata address.
    `clone` lets git read there, and nothing else do anything: no push, no other program.
    """

    name: str
    port: int
    plain: bool = False
    private: bool = False
    clone: bool = False

    def __str__(self) -> str:
        return f"http://{self.name}:{self.port}" if self.plain else f"{self.name}:{self.port}"

    def covers(self, other: Destination) -> bool:
        """Whether this one makes `other` superfluous."""
        same = (self.port, self.plain) == (other.port, other.plain) and (
            self.private >= other.private and self.clone <= other.clone)
        below = self.name.startswith(".") and (other.name.endswith(self.name) or other.name == self.name[1:])
        return same and (self.name == other.name or below)


def entry(written: Any) -> Destination | str:
    """What one entry says: a destination, or the name of a set. Raises NotAnEntry."""
    if isinstance(written, str):
        is_word = re.fullmatch(r"[a-z][a-z0-9-]*", written) and written != "localhost"
        return written if is_word else _destination(written, private=False)
    if not isinstance(written, dict) or not isinstance(written.get("to"), str):
        raise NotAnEntry(FORMS)
    said = {option: written.get(option, False) for option in OPTIONS}
    if set(written) - {"to", *OPTIONS} or not all(isinstance(value, bool) for value in said.values()):
        raise NotAnEntry('use {to: "host:port"} with private: true, clone: true or both, and no other key')
    return _destination(written["to"], **said)


def _destination(text: str, *, private: bool, clone: bool = False) -> Destination:
    if "/" in text:
        host = urlsplit(text).hostname if "://" in text else text.split("/")[0]
        raise NotAnEntry(f'a name has no path; write "{host}"' if host else FORMS)
    if text.startswith("*."):
        raise NotAnEntry(f'write "{text[1:]}" for a domain with everything below it')
    if text.count(":") > 1:
        raise NotAnEntry("an IPv6 address cannot be listed; use a name")
    name, colon, number = text.lower().rstrip(".").partition(":")
    if colon and not (re.fullmatch(r"[0-9]{1,5}", number) and 0 < int(number) < 1 << 16):
        raise NotAnEntry("use a port from 1 to 65535")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise NotAnEntry(FORMS)
    if name.startswith(".") and "." not in name[1:]:
        raise NotAnEntry("a whole top-level domain is too wide; name a domain below it")
    if name.removeprefix(".").rpartition(".")[2] in ("localhost",):
        raise NotAnEntry("a sandbox never reaches its host; put the service where it has an address of its own")
    _address(name, private=private)
    port = int(number) if colon else TLS_PORT
    return Destination(name, port, plain=port == PLAIN_PORT, private=private, clone=clone)


def _address(name: str, *, private: bool) -> None:
    """Raises NotAnEntry for an address that could never be reached, or not without `private`."""
    if not re.fullmatch(r"[0-9]+|0x[0-9a-f]+", name.rpartition(".")[2]):
        return
    try:
        address = ipaddress.IPv4Address(name)
    except ValueError:
        raise NotAnEntry("use a name, or an IPv4 address as four numbers") from None
    if any(address in ipaddress.IPv4Network(net) for net in NEVER4):
        raise NotAnEntry("a sandbox never reaches loopback or multicast addresses")
    if not private and any(address in ipaddress.IPv4Network(net) for net in PRIVATE4):
        raise NotAnEntry(f'a private address; write {{to: "{name}:PORT", private: true}}')


def of_clients(clients: Iterable[Mapping[str, Any]]) -> set[Destination]:
    """Where a host's own clients go, by what the probe saw of them: http stays plain, at the port that it names.

    They may be private: whoever configured the host chose these.
    """
    found = set()
    for client in clients:
        for url in (*client["urls"], *client["files"]):
            parts = urlsplit(url)
            plain = parts.scheme == "http"
            if parts.hostname and (plain or parts.scheme == "https") and _NAME.fullmatch(parts.hostname):
                port = parts.port or (PLAIN_PORT if plain else TLS_PORT)
                found.add(Destination(parts.hostname, port, plain, private=True))
    return found


def smallest(destinations: Iterable[Destination]) -> tuple[Destination, ...]:
    """The same destinations without those that another one covers, in order."""
    every = sorted(set(destinations))
    return tuple(one for one in every if not any(other != one and other.covers(one) for other in every))
