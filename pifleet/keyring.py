"""Owns the reading of the secrets that an inventory names, and of saying which are missing, all at once.
It must not keep one, nor know what it is for."""

from __future__ import annotations

from collections.abc import Iterable

from pifleet.desired import secret_sources
from pifleet.errors import Mistakes
from pifleet.fleet import Fleet
from pifleet.secret import Secret, SecretUnavailable


def read_secrets(fleet: Fleet, names: Iterable[str]) -> dict[str, Secret]:
    """The values of those of `names` that the fleet has a source for. Raises BadInput with all that have none."""
    mistakes, found = Mistakes(), {}
    for name, source in secret_sources(fleet).items():
        if name in names:
            try:
                found[name] = source.read()
            except SecretUnavailable as error:
                mistakes.add(_path_of(name), str(error), f"make it available: {error.trouble.try_}")
    mistakes.raise_any("A secret that the inventory names is not available; nothing was touched.")
    return found


def _path_of(secret: str) -> str:
    """Where in the inventory a secret's source stands."""
    kind, item, *rest = secret.split(":")
    if kind == "egress":
        return f"pifleet_egress_{item}"
    if kind == "gateway":
        return f"hosts.{item}.pifleet_gateway_tls.key"
    inner = f"auth.{rest[0]}" if kind == "repo" else rest[0] if rest else "key"
    return f"pifleet_{kind}s.{item}.{inner}"
