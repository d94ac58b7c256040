"""Owns what a sandbox of pattern openshell may touch: its policy, in the form in which a gateway tells it back.
It must not know providers: `inference.local` is let through before any policy is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

# The last is among those that a supervisor adds by itself where they are there, and so tells back.
# Paths cannot be added to a sandbox that runs: a gateway takes the change, says "loaded", and it has no effect.
READ_ONLY = (
    "/bin", "/dev/urandom", "/dev/zero", "/etc", "/lib", "/lib64", "/opt/pifleet", "/proc", "/sbin", "/sys", "/usr",
    "/var", "/var/log",
)
READ_WRITE = ("/dev/null", "/dev/ptmx", "/dev/pts", "/dev/shm", "/dev/tty", "/home/pi", "/run/lock", "/tmp")  # noqa: S108


GIT = ("/usr/bin/git", "/usr/lib/git-core/**")
# What git asks for a clone (git's protocol documentation, gitprotocol-http(5)); a push posts to git-receive-pack.
CLONING = (("GET", "/**/info/refs"), ("POST", "/**/git-upload-pack"))
Rule = dict[str, Any]


class Destination(Protocol):
    """A name and port that a sandbox may reach; `.name` is a domain with everything below it; `clone`: git reads."""

    @property
    def name(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def clone(self) -> bool: ...


def policy(egress: Iterable[Destination]) -> dict[str, Any]:
    """The policy of a sandbox that reaches its model and `egress`. Empty parts are left out, as gateways do."""
    rules = dict(_rules(list(egress)))
    return {
        "version": 1,
        "filesystem_policy": {
            "include_workdir": True, "read_only": list(READ_ONLY), "read_write": list(READ_WRITE),
        },
        "landlock": {"compatibility": "best_effort"},
        **({"network_policies": rules} if rules else {}),
    }


def _rules(egress: Sequence[Destination]) -> Iterator[tuple[str, Rule]]:
    """What every program reaches without anybody looking into it, and where git reads and is looked at."""
    if plain := [one for one in egress if not one.clone]:
        yield "egress", {"name": "egress", "endpoints": _endpoints(plain), "binaries": [{"path": "/**"}]}
    if cloning := [one for one in egress if one.clone]:
        looked_at = {"protocol": "rest", "enforcement": "enforce",
                     "rules": [{"allow": {"method": method, "path": path}} for method, path in CLONING]}
        yield "clone", {"name": "clone", "endpoints": [{**one, **looked_at} for one in _endpoints(cloning)],
                        "binaries": [{"path": path} for path in GIT]}


def _endpoints(egress: Iterable[Destination]) -> list[dict[str, Any]]:
    """Each name with its ports, in order; a domain is a wildcard for any labels before it, and its own name besides."""
    ports: dict[str, list[int]] = {}
    for one in sorted(egress, key=lambda one: (one.name, one.port)):
        for host in (f"**{one.name}", one.name[1:]) if one.name.startswith(".") else (one.name,):
            if one.port not in ports.setdefault(host, []):
                ports[host].append(one.port)
    return [{"host": host, **({"port": own[0]} if len(own) == 1 else {"ports": own})} for host, own in ports.items()]


def fixed(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a policy that is decided when the sandbox is made; the order of paths means nothing."""
    found = {key: whole[key] for key in ("filesystem_policy", "landlock", "process") if whole.get(key)}
    if files := found.get("filesystem_policy"):
        found["filesystem_policy"] = {
            key: sorted(value) if isinstance(value, list) else value for key, value in files.items()
        }
    return found


def network(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The part that a running sandbox takes over."""
    return dict(whole.get("network_policies") or {})
