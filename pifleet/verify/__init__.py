"""Owns proving a sandbox: what is asked inside it and of its host, and which ways out of it are tried.
It must not change the sandbox, and costs nothing: only a scripted model is ever given a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from pifleet.fleet import Fleet, Sandbox
from pifleet.operate import Act, Say
from pifleet.report import Check
from pifleet.sandbox import WORKSPACE, Driver
from pifleet.sandbox.inside import ask
from pifleet.verify.judge import WORD, judge
from pifleet.verify.promise import promise

EGRESS_PORT = 8101
SOCKETS = ["model.sock", "egress.sock"]
SECONDS = 300
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


def verifier(fleet: Fleet) -> Act[list[Check]]:
    """The act of verifying one sandbox. Raises SandboxFailed when it does not run."""

    def act(driver: Driver, box: Sandbox, say: Say) -> list[Check]:
        driver.require_running(box)
        promised = promise(fleet, box)
        say("looking for keys from outside")
        outside = driver.outside(box)
        bases = outside.get("bases")
        bases = bases if isinstance(bases, dict) else {}
        say("asking inside")
        request = {"workspace": WORKSPACE, "repos": {name: str(bases.get(name, "")) for name in box.repos},
                   "health": promised.health, "scripted": promised.scripted, "word": WORD}
        inside = next(ask(driver, box, "verify", request, silence=SECONDS), {})
        if promised.closed:
            say("trying to get out")
            tried = next(ask(driver, box, "escape", _ways(fleet, box), silence=SECONDS), {}).get("attempts")
        else:
            tried = None
        return list(judge(fleet, box, promised, inside, outside, tried))

    return act


def _ways(fleet: Fleet, box: Sandbox) -> dict[str, object]:
    """The request to try every way out."""
    direct = list(_direct(fleet, box))
    return {"tcp": [*FORBIDDEN, *direct], "proxied": FORBIDDEN, "proxy": EGRESS_PORT, "own": SOCKETS,
            "names": sorted({NAME, *(host for _, host, _ in direct if not _is_address(host))})}


def _direct(fleet: Fleet, box: Sandbox) -> Iterator[Target]:
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


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False
