"""Short-lived tokens of accounts, signed as the API server signs its own, which gives none for less than 10 minutes.

Owns the form of such a token and a kubeconfig with one; must not know what an account may do.
"""

import base64
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER = "https://kubernetes.default.svc"
NUMBER_BYTES = 32
# The API server takes a token for so many seconds longer than it says (go-jose, jwt.DefaultLeeway).
LEEWAY = 60


def token(keys: Path, account: dict[str, Any], seconds: float) -> str:
    """A web token (RFC 7519, ES256) of a ServiceAccount as the API gives it, good for this long."""
    metadata, now = account["metadata"], int(time.time())
    claims = {
        "iss": ISSUER, "aud": [ISSUER], "iat": now, "nbf": now, "exp": now + int(seconds) - LEEWAY,
        "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        "kubernetes.io": {"namespace": metadata["namespace"],
                          "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]}},
    }
    signed = f"{_part({'alg': 'ES256', 'typ': 'JWT'})}.{_part(claims)}"
    key = serialization.load_pem_private_key((keys / "accounts.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    numbers = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_text(b''.join(number.to_bytes(NUMBER_BYTES) for number in numbers))}"


def with_token(kubeconfig: Path, said: str) -> str:
    """The text of a kubeconfig of the lab's, with a token in place of its certificate."""
    config = json.loads(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": said}
    return json.dumps(config)


def _part(content: dict[str, Any]) -> str:
    return _text(json.dumps(content).encode())


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
