"""What accounts log in with, as the datacenter remembers it: numbers, passwords, tokens of bots.

Of passwords and tokens only what verifies them is kept.
"""

import sqlite3
from enum import Enum, StrEnum, auto
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from attrs import astuple, define, frozen

from adapters.sandbox.mtproto.srp import Verifier

MAX_HINT: Final = 128
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS numbers (phone TEXT PRIMARY KEY, status TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS passwords (
    account INTEGER PRIMARY KEY REFERENCES accounts (id),
    salt1 BLOB NOT NULL, salt2 BLOB NOT NULL, verifier BLOB NOT NULL, hint TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS bots (
    account INTEGER PRIMARY KEY REFERENCES accounts (id), token BLOB NOT NULL, expired INTEGER NOT NULL,
    dc INTEGER
) STRICT;
"""


class NumberStatus(StrEnum):
    """How a phone number behaves at login."""

    USUAL = "usual"
    """It has an account, which is created on first use."""
    UNOCCUPIED = "unoccupied"
    """It has no account: a login is told to sign up."""
    BANNED = "banned"
    """No code is sent. Existing logins are untouched; the fault ``revoke`` ends them."""


@frozen
class Password:
    """The second step of an account's login. The password itself is not stored."""

    verifier: Verifier
    hint: str


class TokenStatus(Enum):
    """What a bot's token is worth."""

    GOOD = auto()
    EXPIRED = auto()
    WRONG = auto()


@define
class CredentialStore:
    """The part of the store that holds credentials; it shares the store's database."""

    _db: sqlite3.Connection

    def status(self, phone: str) -> NumberStatus:
        """Return the status of a normalised number."""
        row = self._db.execute("SELECT status FROM numbers WHERE phone = ?", (phone,)).fetchone()
        return NumberStatus(row[0]) if row else NumberStatus.USUAL

    def set_status(self, phone: str, status: NumberStatus) -> None:
        self._db.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (phone, status.value))

    def password(self, account: int) -> Password | None:
        """Return the account's second step; None if it has none."""
        query = "SELECT salt1, salt2, verifier, hint FROM passwords WHERE account = ?"
        row = self._db.execute(query, (account,)).fetchone()
        return Password(Verifier(*row[:3]), row[3]) if row else None

    def set_password(self, account: int, password: Password | None) -> None:
        """Set the second step of the account, or with None remove it."""
        self._db.execute("DELETE FROM passwords WHERE account = ?", (account,))
        if password is not None:
            values = (account, *astuple(password.verifier), password.hint)
            self._db.execute("INSERT INTO passwords VALUES (?, ?, ?, ?, ?)", values)

    def set_bot(self, account: int, token: str, dc_id: int | None) -> None:
        """Set the token and the home datacenter of a bot; an earlier token of the bot becomes worthless."""
        self._db.execute("INSERT OR REPLACE INTO bots VALUES (?, ?, 0, ?)", (account, _digest(token), dc_id))

    def expire_bot_token(self, account: int) -> None:
        self._db.execute("UPDATE bots SET expired = 1 WHERE account = ?", (account,))

    def bot_home(self, account: int) -> int | None:
        """Return the datacenter that a bot was made for."""
        row = self._db.execute("SELECT dc FROM bots WHERE account = ?", (account,)).fetchone()
        return row[0] if row else None

    def token_status(self, account: int, token: str) -> TokenStatus:
        """Return what the token is worth for this account, which may or may not be a bot."""
        row = self._db.execute("SELECT token, expired FROM bots WHERE account = ?", (account,)).fetchone()
        if row is None or not compare_digest(row[0], _digest(token)):
            return TokenStatus.WRONG
        return TokenStatus.EXPIRED if row[1] else TokenStatus.GOOD


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
