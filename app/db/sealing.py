"""Texts that a copy of the database alone must not give away: sealed with keys that the operator holds.

Fernet of `cryptography`: AES-128-CBC with HMAC-SHA256. The first key seals, all of them open, so that an
operator changes keys without a moment in which something cannot be read.
"""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Unsealable(Exception):
    """No key that is configured opens the text."""


class Sealer:
    """`keys`: 32 bytes each, in URL-safe base64, newest first; at least one. Raises ValueError for one that
    is none."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode("ascii")

    def unseal(self, sealed: str) -> str:
        """Raises Unsealable."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise Unsealable from error

    def seal_again(self, sealed: str) -> str:
        """With the first key. Raises Unsealable."""
        try:
            return self._fernet.rotate(sealed).decode("ascii")
        except InvalidToken as error:
            raise Unsealable from error
