"""The test double's `generate-certs`: a CA, a server and a client certificate, and the keys for tokens.

Owns which files there are and when they are made anew; must not know who listens with them.
"""

import datetime
import ipaddress
import os
import secrets
import shutil
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("openshell", "openshell.openshell.svc", "openshell.openshell.svc.cluster.local", "localhost",
         "openshell.localhost", "*.openshell.localhost", "host.docker.internal", "host.containers.internal",
         "127.0.0.1", "::1")
TLS = ("ca.crt", "ca.key", "server/tls.crt", "server/tls.key", "client/tls.crt", "client/tls.key")
JWT = ("jwt/signing.pem", "jwt/public.pem", "jwt/kid")
FIRST, LAST = datetime.datetime(1975, 1, 1), datetime.datetime(4096, 1, 1)
PEM, PRIVATE = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def generate(folder: Path, sans: list[str], client: Path) -> str:
    """Have the bundle, and the client's part where the command looks; gives the sentence to log.

    A name that the server's certificate lacks makes everything anew, the CA too. Raises SystemExit for half a bundle.
    """
    tls, jwt = (sum((folder / name).exists() for name in names) for names in (TLS, JWT))
    if tls + jwt not in (0, len(TLS), len(TLS) + len(JWT)) or (tls == 0 and jwt):
        raise SystemExit(f"Error:   x partial PKI state in {folder}: only some files exist. Recover with: "
                         f"rm -rf {folder}")
    absent = sorted(set(sans) - names_of(folder / "server/tls.crt")) if tls else []
    if tls and jwt and not absent:
        said = f"PKI files already exist, skipping. dir={folder}"
    else:
        if not tls or absent:
            shutil.rmtree(folder, ignore_errors=True)
            write_tls(folder, [*NAMES, *(name for name in sans if name not in NAMES)])
        write_jwt(folder)
        said = f"PKI files created. dir={folder}" + (f" missing SANs: {', '.join(absent)}" if absent else "")
    for name, source in {"ca.crt": "ca.crt", "tls.crt": "client/tls.crt", "tls.key": "client/tls.key"}.items():
        write(client / name, (folder / source).read_bytes())
    return said


def write_tls(folder: Path, names: list[str]) -> None:
    authority = make("openshell-ca", None)
    server = make("openshell-server", authority, names)
    client = make("openshell-client", authority, unit="openshell-user")
    write(folder / "ca.crt", certificate_pem(authority))
    write(folder / "ca.key", key_pem(authority))
    for name, pair in (("server", server), ("client", client)):
        write(folder / name / "tls.crt", certificate_pem(pair))
        write(folder / name / "tls.key", key_pem(pair))


def write_jwt(folder: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    write(folder / "jwt/signing.pem", key.private_bytes(PEM, PRIVATE, serialization.NoEncryption()))
    write(folder / "jwt/public.pem", key.public_key().public_bytes(
        PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    write(folder / "jwt/kid", secrets.token_hex(8).encode())


def make(common: str, issuer: Pair | None, names: list[str] | None = None, unit: str = "") -> Pair:
    """A certificate and its key: an authority where nobody issues it, a server's where it has names."""
    key = ec.generate_private_key(ec.SECP256R1())
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "openshell"),
             x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if unit:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    subject = x509.Name(parts)
    builder = (x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
               .issuer_name(issuer[0].subject if issuer else subject).serial_number(x509.random_serial_number())
               .not_valid_before(FIRST).not_valid_after(LAST)
               .add_extension(x509.BasicConstraints(issuer is None, None), critical=True))
    if issuer is None:
        builder = builder.add_extension(x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_agreement=False,
            key_encipherment=False, data_encipherment=False, encipher_only=False, decipher_only=False), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([general(name) for name in names]), False)
    if issuer:
        use = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), False).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key()), False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def names_of(certificate: Path) -> set[str]:
    found = x509.load_pem_x509_certificate(certificate.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def certificate_pem(pair: Pair) -> bytes:
    return pair[0].public_bytes(PEM)


def key_pem(pair: Pair) -> bytes:
    return pair[1].private_bytes(PEM, PRIVATE, serialization.NoEncryption())


def write(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
