"""Logins under way: codes that were sent, and passwords that are awaited. A restart ends them."""

import secrets
from collections.abc import Callable
from hmac import compare_digest
from typing import Final, TypeVar

import attrs

from adapters.sandbox.srp import Challenge

CODE_LIFETIME_SECONDS: Final = 300.0
MOST_UNDER_WAY: Final = 10_000
"""Of each kind; the oldest makes room."""

K = TypeVar("K")
V = TypeVar("V")


@attrs.define(repr=False)
class Code:
    """A code that was sent. What it says is settled by the number (`phones.login_code`)."""

    hash: str
    until: float
    """Seconds since the epoch."""
    repeats: int = 0
    """How often it was sent again, each time in another way."""


@attrs.define
class Logins:
    """See the module's docstring."""

    _clock: Callable[[], float]
    _codes: dict[str, Code] = attrs.field(factory=dict, repr=False)
    _awaiting: dict[int, int] = attrs.field(factory=dict)
    """Keys of which a code was right, each with its account: only the password is missing."""
    _challenges: dict[int, Challenge] = attrs.field(factory=dict, repr=False)
    """Per key the one that was told last; it is good for one answer."""

    def new_code(self, phone: str) -> Code:
        """A code for a normalised number; one that was sent before is over."""
        code = Code(secrets.token_hex(9), self._clock() + CODE_LIFETIME_SECONDS)
        _put(self._codes, phone, code)
        return code

    def code(self, phone: str, hash_: str) -> Code | None:
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

    def awaited(self, key: int) -> int | None:
        """The account whose password this key has yet to prove."""
        return self._awaiting.get(key)

    def challenge(self, key: int, challenge: Challenge) -> None:
        """Notes what the client with this key was told last."""
        _put(self._challenges, key, challenge)

    def take_challenge(self, key: int, id_: int) -> Challenge | None:
        """The challenge that is being answered, which is used up by that; None when it is not the last one."""
        challenge = self._challenges.pop(key, None)
        return challenge if challenge is not None and challenge.id == id_ else None

    def finish(self, key: int) -> None:
        """The login of this key is over, for better or worse."""
        self._awaiting.pop(key, None)
        self._challenges.pop(key, None)


def _put(table: dict[K, V], key: K, value: V) -> None:
    table.pop(key, None)
    if len(table) >= MOST_UNDER_WAY:
        del table[next(iter(table))]
    table[key] = value
