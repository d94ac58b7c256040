"""Certificates inside a sandbox of the test double: what its programs trust, and what the proxy shows them.

Owns the files and TLS contexts; must not make certificates, for those come from the gateway.
"""

import os
import ssl
import tempfile
from typing import Any

FOLDER = "/etc/openshell-tls"
AUTHORITY, BUNDLE = f"{FOLDER}/openshell-ca.pem", f"{FOLDER}/ca-bundle.pem"
SYSTEM = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")


class Trust:
    """Empty until the gateway sent an authority."""

    def __init__(self) -> None:
        self.leaves: dict[str, dict[str, str]] = {}
        self.contexts: dict[str, ssl.SSLContext] = {}

    def take(self, tls: dict[str, Any]) -> None:
        """Use the gateway's authority and leaves from now on."""
        os.makedirs(FOLDER, exist_ok=True)
        system = next((read(path) for path in SYSTEM if os.path.exists(path)), "")
        for path, text in ((AUTHORITY, tls["authority"]), (BUNDLE, system + "\n" + tls["authority"])):
            with open(path, "w") as file:
                file.write(text)
        if tls["leaves"] != self.leaves:
            self.leaves, self.contexts = tls["leaves"], {}

    def context(self, host: str) -> ssl.SSLContext:
        """How the proxy shows itself as a host; raises OSError where it has no leaf for it."""
        if host not in self.contexts:
            leaf = self.leaves.get(host) or self.leaves.get("*." + host.partition(".")[2])
            if leaf is None:
                raise OSError(f"no certificate for {host}")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.NamedTemporaryFile("w", dir="/run") as file:
                file.write(leaf["key"] + leaf["certificate"])
                file.flush()
                context.load_cert_chain(file.name)
            self.contexts[host] = context
        return self.contexts[host]

    @staticmethod
    def upstream() -> ssl.SSLContext:
        """Whom the proxy trusts outside: the image's own bundle."""
        bundle = next((path for path in SYSTEM if os.path.exists(path)), None)
        return ssl.create_default_context(cafile=bundle)

    @staticmethod
    def environment() -> dict[str, str]:
        bundle = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
        return {"NODE_EXTRA_CA_CERTS": AUTHORITY, "DENO_CERT": AUTHORITY, **dict.fromkeys(bundle, BUNDLE)}


def read(path: str) -> str:
    with open(path) as file:
        return file.read()
