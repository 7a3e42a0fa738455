"""Encryption of stored credentials and hashing of passwords. Keys come from the one secret in the environment."""

import base64

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive_key(secret: str, purpose: str) -> bytes:
    """Return 32 bytes for one purpose, so that no two uses of the secret share a key."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret.encode())


class DecryptionError(Exception):
    """A stored secret cannot be read with this secret key: it was changed, or the row was tampered with."""


class Vault:
    """Encrypts what is stored: broker credentials and session tokens."""

    def __init__(self, secret: str) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(derive_key(secret, "sauda/vault/v1")))

    def encrypt(self, plain: str) -> bytes:
        """Return the authenticated cipher text of a string."""
        return self._fernet.encrypt(plain.encode())

    def decrypt(self, cipher: bytes) -> str:
        """Return the plain text; raises `DecryptionError`."""
        try:
            return self._fernet.decrypt(cipher).decode()
        except InvalidToken as error:
            raise DecryptionError("a stored secret cannot be decrypted: was SAUDA_SECRET_KEY changed?") from error


class Passwords:
    """Argon2id hashes of passwords."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        # A hash to verify against when the user does not exist, so that both cases take the same time.
        self._decoy = self._hasher.hash("no such user")

    def hash(self, password: str) -> str:
        """Return a salted hash."""
        return self._hasher.hash(password)

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password fits; takes as long for an unknown user (`stored` None)."""
        try:
            self._hasher.verify(stored or self._decoy, password)
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None
