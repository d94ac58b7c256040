"""A cluster's authority, what it signs for each part and each caller, and the kubeconfigs made of these.

Owns who is who in the cluster; must not know what anyone does there.
"""

import base64
import ipaddress
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MASTERS, NODES = "system:masters", "system:nodes"
PEM = serialization.Encoding.PEM
LIFE = timedelta(days=30)


class Authority:
    """Signs certificates into a folder: NAME.pem is certificate and key together, ca.crt what verifies them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pifleet-lab")])
        usage = x509.BasicConstraints(ca=True, path_length=None)
        own = self.draft(self.name, self.key).add_extension(usage, critical=True).sign(self.key, hashes.SHA256())
        (folder / "ca.crt").write_bytes(own.public_bytes(PEM))
        self.write("ca", own, self.key)

    def draft(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(issuer_name=self.name, subject_name=name, public_key=key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + LIFE)

    def sign(self, file: str, user: str, group: str = "", names: tuple[str, ...] = ()) -> None:
        """Sign a certificate for a user of a group; `names` are the addresses and names that it serves."""
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        if group:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        key = ec.generate_private_key(ec.SECP256R1())
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = self.draft(x509.Name(attributes), key).add_extension(uses, critical=False)
        if names:
            served = x509.SubjectAlternativeName([alternative(name) for name in names])
            builder = builder.add_extension(served, critical=False)
        self.write(file, builder.sign(self.key, hashes.SHA256()), key)

    def write(self, file: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        plain = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = self.folder / f"{file}.pem"
        path.touch(mode=0o600)
        path.write_bytes(certificate.public_bytes(PEM) + plain)


def alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def kubeconfig(folder: Path, file: str, server: str) -> str:
    """The text of a kubeconfig, whole in itself, for whom `file`.pem was signed."""
    def text(name: str) -> str:
        return base64.b64encode((folder / name).read_bytes()).decode()

    def named(kind: str, content: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"name": "lab", kind: content}]

    pair = text(f"{file}.pem")
    return json.dumps({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": named("cluster", {"server": server, "certificate-authority-data": text("ca.crt")}),
        "users": named("user", {"client-certificate-data": pair, "client-key-data": pair}),
        "contexts": named("context", {"cluster": "lab", "user": "lab"}),
    }, indent=1) + "\n"
