"""Encrypts the keys of sessions in a database, so that whoever reads its tables or a dump of them has no login.

AES-256 in GCM, which also proves that nothing was changed. What a row holds is bound to its account and its column: one
that was copied into the row of another account, or into the other column, is refused. A row names the session key that
it is encrypted with by a fingerprint, its id; an empty id says that it is not encrypted.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import field, frozen

from adapters.postgres.errors import DriverMissing, StoreError
from adapters.session.errors import SessionError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BYTES: Final = 32
"""Length of a session key."""
KEY: Final = "key"
TEMPORARY_KEY: Final = "temporary_key"
"""The columns that are encrypted."""
_NONCE: Final = 12
_BETWEEN: Final = re.compile(r"[,\s]+")
_LIBRARY: Final = (
    "storage.session_key: the library that encrypts is not installed; run: pip install 'holdfast-telegram[postgres]'"
)

USED: Final = """SELECT key_id, count(*) FROM (SELECT key_id FROM sessions WHERE key_id <> '' OR login <> ''
    UNION ALL SELECT key_id FROM replaced_logins) AS every GROUP BY 1 ORDER BY 1"""
"""The ids of the session keys that rows are encrypted with (empty: with none), and how many rows."""


class SessionKeyMissing(StoreError):
    """Rows of the database are encrypted with a session key that the config does not have."""


class BadSessionKey(StoreError):
    """A session key of the config cannot be one."""


class SessionKeyUnusable(SessionError):
    """The key of a session cannot be decrypted: the login is there, and is neither used nor touched."""


@frozen
class SessionKeys:
    """The session keys of a config: the first one encrypts, all decrypt. Without any, nothing is encrypted."""

    _keys: Mapping[str, bytes] = field(factory=dict, repr=False)
    """By id, in the order of the config."""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Read the keys of a config: Base64 of 32 bytes each.

        Raises ``BadSessionKey``, which quotes nothing, and ``DriverMissing``.
        """
        if text is None:
            return cls()
        if not _has_library():
            raise DriverMissing(_LIBRARY)
        return cls({_id(key): key for key in map(_decode, _BETWEEN.split(text.strip(", \t\r\n")))})

    @property
    def first(self) -> str:
        """The id of the key that encrypts; empty if there is none."""
        return next(iter(self._keys), "")

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys."""
        return tuple(self._keys)

    def sealed(self, account: int, column: str, value: bytes) -> bytes:
        """Return what the row of an account has in place of a value; an empty one is as it is."""
        if not self._keys or not value:
            return value
        nonce = os.urandom(_NONCE)
        return nonce + _cipher(self._keys[self.first]).encrypt(nonce, value, _bound_to(account, column))

    def opened(self, account: int, column: str, key_id: str, stored: bytes, where: str) -> bytes:
        """Return the value in the row of an account; ``where`` is store and account. Raises ``SessionKeyUnusable``."""
        if not key_id or not stored:
            return stored
        key = self._keys.get(key_id)
        if key is None:
            raise SessionKeyUnusable(f"{where}: the session is encrypted with {self._missing(key_id)}")
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - only where something is encrypted

        try:
            return _cipher(key).decrypt(stored[:_NONCE], stored[_NONCE:], _bound_to(account, column))
        except InvalidTag:
            raise SessionKeyUnusable(
                f"{where}: what is stored of the session cannot be decrypted as this account's; its row was changed, "
                "or is that of another account: restore the table sessions from a dump"
            ) from None

    def check(self, address: Any, used: Mapping[str, int]) -> None:
        """Raise ``SessionKeyMissing`` if rows are encrypted with another session key; ``used`` is by id."""
        for key_id, count in used.items():
            if key_id and key_id not in self._keys:
                raise SessionKeyMissing(
                    f"{address}: {count:,} session{'s are' if count != 1 else ' is'} encrypted with "
                    f"{self._missing(key_id)}"
                )

    def _missing(self, key_id: str) -> str:
        has = f"has {', '.join(self.ids)}" if self._keys else "is left out"
        return (
            f"the session key {key_id!s:.32}, and storage.session_key {has}; name that key there, after the first "
            "one and a comma"
        )


PLAIN: Final = SessionKeys()
"""Nothing is encrypted."""


def _decode(text: str) -> bytes:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != BYTES:
        raise BadSessionKey("storage.session_key: a key is not Base64 of 32 bytes; make one: openssl rand -base64 32")
    return key


def _id(key: bytes) -> str:
    """Return what tells session keys apart, and reveals nothing else of them."""
    return hashlib.sha256(b"holdfast session key " + key).hexdigest()[:12]


def _bound_to(account: int, column: str) -> bytes:
    return f"holdfast session 1 {account} {column}".encode()


@cache
def _has_library() -> bool:
    try:
        import cryptography  # noqa: F401, PLC0415 - as above
    except ImportError:
        return False
    return True


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as above

    return AESGCM(key)
