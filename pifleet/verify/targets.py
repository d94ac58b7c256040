"""Owns where the attempts to get out of a sandbox aim: places that nobody may reach, and what its host reaches for it.
It must not try anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from pifleet.fleet import Fleet, Sandbox

# A name that every name server knows (RFC 2606).
NAME = "example.com"
Target = tuple[str, str, int]

# Where nobody may get: the clouds' metadata addresses, the engine's own bridge, ports of the host that give power.
FORBIDDEN: tuple[Target, ...] = (
    ("metadata", "169.254.169.254", 80), ("metadata over ipv6", "fd00:ec2::254", 80),
    ("the engine's bridge", "172.17.0.1", 22), ("ssh of the host", "127.0.0.1", 22),
    ("the engine by tcp", "127.0.0.1", 2375), ("the engine by tls", "127.0.0.1", 2376),
    ("squid of the host", "127.0.0.1", 3128), ("a router", "192.168.0.1", 80), ("a name server", "198.41.0.4", 53),
    ("a name server over ipv6", "2001:503:ba3e::2:30", 53),
)


def direct(fleet: Fleet, box: Sandbox) -> Iterator[Target]:
    """What the host reaches for the sandbox, which must not reach it directly: providers, proxies, git servers.

    What is on the host's own loopback is left out: the same address inside is the sandbox's own.
    """
    models = [fleet.models[name] for name in box.models]
    urls = [(f"{model.name} directly", url) for model in models for url in (model.base_url, model.proxy)]
    urls += [(f"the origin of {name}", fleet.repos[name].url) for name in box.repos]
    for name, url in urls:
        parts = urlsplit(url)
        if parts.hostname and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            ports = {"http": 80, "https": 443, "ssh": 22}
            yield name, parts.hostname, parts.port or ports.get(parts.scheme, 443)


def names(targets: Iterable[Target]) -> list[str]:
    """What to look up: the names among these, and one that is always there."""
    return sorted({NAME, *(host for _, host, _ in targets if not _is_address(host))})


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False
