"""Puts real credentials where a sandbox wrote placeholders, towards the hosts they are for and nowhere else.

Owns where in a request a placeholder counts; must not know where credentials come from.
"""

import base64
import binascii
import re
from typing import Any

from .http import Request

PLACEHOLDER = re.compile(r"openshell:resolve:env:[A-Za-z0-9_]+")


class Mismatch(Exception):
    """A placeholder towards a host that its credential is not for, or one that nobody knows."""


def put_in(request: Request, known: dict[str, Any], host: str, port: int) -> Request:
    """The request with its placeholders replaced in target and headers, Basic authentication too. Raises Mismatch."""
    def real(found: "re.Match[str]") -> str:
        secret = known.get(found[0])
        if secret is None or [host, port] not in secret["bound"]:
            raise Mismatch(found[0])
        return str(secret["value"])

    def header(value: str) -> str:
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "basic":
            try:
                plain = base64.b64decode(rest, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return value
            if PLACEHOLDER.search(plain):
                return f"{scheme} {base64.b64encode(PLACEHOLDER.sub(real, plain).encode()).decode()}"
        return PLACEHOLDER.sub(real, value)

    return Request(request.method, PLACEHOLDER.sub(real, request.target),
                   [(key, header(value)) for key, value in request.headers])
