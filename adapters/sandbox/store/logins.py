"""Logins under way: codes that were sent, passwords that are awaited, QR codes that are shown.

A restart ends them.
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
    """A code that was sent. What it says is settled by the number (`phones.login_code`)."""

    hash: str
    until: float
    """Seconds since the epoch."""
    repeats: int = 0
    """How often it was sent again, each time in another way."""


@define(repr=False)
class LoginToken:
    """What a QR code says."""

    value: bytes
    key: int
    """Of the client that shows it."""
    api_id: int
    excluded: frozenset[int]
    """Accounts that may not accept it, because the client is logged in as them already."""
    until: float
    """Seconds since the epoch."""
    account: int | None = None
    """Who accepted it."""
    used: bool = False


@define
class PendingLogins:
    """See the module's docstring."""

    _clock: Callable[[], float]
    token_lifetime: float = TOKEN_LIFETIME_SECONDS
    """Seconds that a QR code is good for."""
    _codes: dict[str, LoginCode] = field(factory=dict, repr=False)
    _awaiting: dict[int, int] = field(factory=dict)
    """Keys of which a code was right, each with its account: only the password is missing."""
    _challenges: dict[int, Challenge] = field(factory=dict, repr=False)
    """Per key the one that was told last; it is good for one answer."""
    _tokens: dict[bytes, LoginToken] = field(factory=dict, repr=False)
    _accepted: dict[int, LoginToken] = field(factory=dict, repr=False)
    """Per key the one that was accepted and has led to nothing yet."""

    def new_code(self, phone: str) -> LoginCode:
        """A code for a normalised number; one that was sent before is over."""
        code = LoginCode(secrets.token_hex(9), self._clock() + CODE_LIFETIME_SECONDS)
        _put(self._codes, phone, code)
        return code

    def code(self, phone: str, hash_: str) -> LoginCode | None:
        """The code with this hash, unless it is over."""
        code = self._codes.get(phone)
        if code is None or self._clock() > code.until or not compare_digest(code.hash.encode(), hash_.encode()):
            return None
        return code

    def end_code(self, phone: str) -> None:
        """It was used, or called off."""
        self._codes.pop(phone, None)

    def expire_codes(self, phone: str | None) -> int:
        """Ends the code of a number, or with None all of them; returns how many there were."""
        phones = list(self._codes) if phone is None else [phone] if phone in self._codes else []
        for each in phones:
            del self._codes[each]
        return len(phones)

    def await_password(self, key: int, account: int) -> None:
        """Whoever has this key may now prove that they know the account's password."""
        _put(self._awaiting, key, account)

    def pending_account(self, key: int) -> int | None:
        """The account whose password this key has yet to prove."""
        return self._awaiting.get(key)

    def challenge(self, key: int, challenge: Challenge) -> None:
        """Notes what the client with this key was told last."""
        _put(self._challenges, key, challenge)

    def take_challenge(self, key: int, id_: int) -> Challenge | None:
        """The challenge that is being answered, which is used up by that; None when it is not the last one."""
        challenge = self._challenges.pop(key, None)
        return challenge if challenge is not None and challenge.id == id_ else None

    def new_token(self, key: int, api_id: int, excluded: frozenset[int]) -> LoginToken:
        """A QR code for the client with this key; those that it showed before stay good until their time is over."""
        token = LoginToken(secrets.token_bytes(TOKEN_BYTES), key, api_id, excluded, self._clock() + self.token_lifetime)
        _put(self._tokens, token.value, token)
        return token

    def token(self, value: bytes) -> LoginToken | None:
        """The QR code that says this, even when its time is over; None when nobody ever showed it."""
        return self._tokens.get(value)

    def has_expired(self, token: LoginToken) -> bool:
        """Whether it can be accepted no more, because nobody did in time."""
        return token.account is None and self._clock() > token.until

    def accept(self, token: LoginToken, account: int) -> None:
        """Somebody who is logged in as this account has scanned it."""
        token.account = account
        _put(self._accepted, token.key, token)

    def accepted(self, key: int) -> LoginToken | None:
        """The QR code of the client with this key that was accepted and has led to nothing yet."""
        return self._accepted.get(key)

    def use(self, token: LoginToken) -> None:
        """It has logged somebody in, or led to the question for the password."""
        token.used = True
        self._accepted.pop(token.key, None)

    def expire_tokens(self) -> int:
        """Ends all QR codes that nobody has accepted yet; returns how many there were."""
        expired = [token for token in self._tokens.values() if token.account is None and not self.has_expired(token)]
        for token in expired:
            token.until = 0
        return len(expired)

    def finish(self, key: int) -> None:
        """The login of this key is over, for better or worse."""
        self._awaiting.pop(key, None)
        self._challenges.pop(key, None)


def _put(table: dict[K, V], key: K, value: V) -> None:
    table.pop(key, None)
    if len(table) >= MAX_PENDING:
        del table[next(iter(table))]
    table[key] = value
