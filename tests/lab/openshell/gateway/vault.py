"""Provider credentials at rest in the test double: sealed by a key of their own, beside the database.

Owns the key's file; must not know providers.
"""

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .certificates import write

DRIVER = "db"
NONCE = 12


class Vault:
    """Without its key's file, what it sealed is lost."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            write(path, AESGCM.generate_key(256))
        self.cipher = AESGCM(path.read_bytes())

    def seal(self, value: str, name: str) -> str:
        nonce = os.urandom(NONCE)
        return base64.b64encode(nonce + self.cipher.encrypt(nonce, value.encode(), name.encode())).decode()

    def unseal(self, sealed: str, name: str) -> str:
        """The value again; raises cryptography's InvalidTag under another key or name."""
        raw = base64.b64decode(sealed)
        return self.cipher.decrypt(raw[:NONCE], raw[NONCE:], name.encode()).decode()
