"""Owns what a gateway and its client know each other by: the bundle of certificates, the copy kept of it, registration.
It must not make certificates or ask a gateway anything."""

import json
import os

from ansible_collections.pifleet.fleet.plugins.module_utils import paths

BUNDLE = ("ca.crt", "ca.key", "server/tls.crt", "server/tls.key", "client/tls.crt", "client/tls.key",
          "jwt/signing.pem", "jwt/public.pem", "jwt/kid")


def folder(gateway):
    """Where the gateway has its bundle."""
    return os.path.join(gateway["state"], "state/openshell/tls")


def bundle(where):
    """The files of a bundle that are there: name -> content."""
    found = {name: paths.read_file(os.path.join(where, name)) for name in BUNDLE}
    return {name: content for name, content in found.items() if content is not None}


def certificates(gateway):
    """Whether the gateway has a whole bundle, and the one that was kept when it was made."""
    there = bundle(folder(gateway))
    return len(there) == len(BUNDLE) and there == bundle(gateway["kept"])


def registration(gateway):
    """The files by which the client knows its gateway, apart from certificates: path -> content."""
    where = os.path.join(gateway["client"], "config/openshell/gateways", gateway["name"])
    metadata = {"name": gateway["name"], "gateway_endpoint": gateway["endpoint"], "is_remote": False, "gateway_port": 0,
                "auth_mode": gateway["auth"]}
    return where, json.dumps(metadata, indent=2, sort_keys=True) + "\n"


def registered(gateway):
    """Whether the client knows this gateway, by certificates that are the gateway's own of today."""
    where, metadata = registration(gateway)
    if (paths.read_file(os.path.join(where, "metadata.json")) or b"").decode("utf-8", "replace") != metadata:
        return False
    for name, source in gateway["trust"].items():
        content = paths.read_file(source)
        if content is None or paths.read_file(os.path.join(where, "mtls", name)) != content:
            return False
    return True
