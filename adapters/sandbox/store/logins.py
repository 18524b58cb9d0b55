"""Pending logins: codes that were sent, passwords that are missing, QR codes that are shown.

They are kept in memory, so a restart ends them.
"""

import secrets
from collections.abc import Callable
from hmac import compare_digest
from typing import Final, TypeVar

from attrs import define, field

from adapters.sandbox.mtproto.srp import Challenge

CODE_LIFETIME_SECONDS: Final = 300.0
TOKEN_LIFETIME_SECONDS: Final = 30.0
TOKEN_BYTES: Final = 24
MAX_PENDING: Final = 10_000
"""Of each kind; the oldest makes room."""

K = TypeVar("K")
V = TypeVar("V")


@define(repr=False)
class LoginCode:
    """A code that was sent. Its digits follow from the number (``phones.login_code``)."""

    hash: str
    until: float
    """Seconds since the epoch."""
    repeats: int = 0
    """How often it was sent again, each time in another way."""


@define(repr=False)
class LoginToken:
    """The content of a QR code."""

    value: bytes
    key: int
    """The id of the key of the client that shows it."""
    api_id: int
    excluded: frozenset[int]
    """Accounts that may not accept it, because the client is logged in as them already."""
    until: float
    """Seconds since the epoch."""
    account: int | None = None
    """The account that accepted it."""
    used: bool = False


@define
class PendingLogins:
    """The pending logins of a datacenter, bounded in number."""

    _clock: Callable[[], float]
    token_lifetime: float = TOKEN_LIFETIME_SECONDS
    """Seconds that a QR code is valid."""
    _codes: dict[str, LoginCode] = field(factory=dict, repr=False)
    _awaiting: dict[int, int] = field(factory=dict)
    """Keys that entered a correct code, each with its account: only the password is missing."""
    _challenges: dict[int, Challenge] = field(factory=dict, repr=False)
    """The last challenge sent to each key; it is good for one answer."""
    _tokens: dict[bytes, LoginToken] = field(factory=dict, repr=False)
    _accepted: dict[int, LoginToken] = field(factory=dict, repr=False)
    """For each key the token that was accepted and is not used yet."""

    def new_code(self, phone: str) -> LoginCode:
        """Return a new code for a normalised number; an earlier one of that number ends."""
        code = LoginCode(secrets.token_hex(9), self._clock() + CODE_LIFETIME_SECONDS)
        _put(self._codes, phone, code)
        return code

    def code(self, phone: str, hash_: str) -> LoginCode | None:
        """Return the code with this hash, unless it has expired."""
        code = self._codes.get(phone)
        if code is None or self._clock() > code.until or not compare_digest(code.hash.encode(), hash_.encode()):
            return None
        return code

    def end_code(self, phone: str) -> None:
        """End a code that was used or cancelled."""
        self._codes.pop(phone, None)

    def expire_codes(self, phone: str | None) -> int:
        """End the code of a number, or with None all codes; return how many there were."""
        phones = list(self._codes) if phone is None else [phone] if phone in self._codes else []
        for each in phones:
            del self._codes[each]
        return len(phones)

    def await_password(self, key: int, account: int) -> None:
        """Note that this key has yet to prove that its client knows the account's password."""
        _put(self._awaiting, key, account)

    def pending_account(self, key: int) -> int | None:
        """Return the account whose password this key has yet to prove."""
        return self._awaiting.get(key)

    def challenge(self, key: int, challenge: Challenge) -> None:
        """Note the challenge that the client with this key got last."""
        _put(self._challenges, key, challenge)

    def take_challenge(self, key: int, id_: int) -> Challenge | None:
        """Return the challenge that is being answered, and use it up; None if it is not the last one."""
        challenge = self._challenges.pop(key, None)
        return challenge if challenge is not None and challenge.id == id_ else None

    def new_token(self, key: int, api_id: int, excluded: frozenset[int]) -> LoginToken:
        """Return a new token for the client with this key; its earlier ones stay valid until they expire."""
        token = LoginToken(secrets.token_bytes(TOKEN_BYTES), key, api_id, excluded, self._clock() + self.token_lifetime)
        _put(self._tokens, token.value, token)
        return token

    def token(self, value: bytes) -> LoginToken | None:
        """Return the token with this value, even an expired one; None for a value that was never shown."""
        return self._tokens.get(value)

    def has_expired(self, token: LoginToken) -> bool:
        """Return whether the token can no longer be accepted, because its time is over."""
        return token.account is None and self._clock() > token.until

    def accept(self, token: LoginToken, account: int) -> None:
        """Note that a client of this account has scanned the QR code."""
        token.account = account
        _put(self._accepted, token.key, token)

    def accepted(self, key: int) -> LoginToken | None:
        """Return the token of the client with this key that was accepted and is not used yet."""
        return self._accepted.get(key)

    def use(self, token: LoginToken) -> None:
        """Mark a token as used: it has led to a login, or to the question for the password."""
        token.used = True
        self._accepted.pop(token.key, None)

    def expire_tokens(self) -> int:
        """Expire all tokens that are not accepted yet; return how many there were."""
        expired = [token for token in self._tokens.values() if token.account is None and not self.has_expired(token)]
        for token in expired:
            token.until = 0
        return len(expired)

    def finish(self, key: int) -> None:
        """Forget the pending login of this key, whether it succeeded or not."""
        self._awaiting.pop(key, None)
        self._challenges.pop(key, None)


def _put(table: dict[K, V], key: K, value: V) -> None:
    table.pop(key, None)
    if len(table) >= MAX_PENDING:
        del table[next(iter(table))]
    table[key] = value
