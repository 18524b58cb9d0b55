"""The registrar: what can be said about how accounts log in. `Sandbox` is one."""

import re
from typing import Final

import anyio.to_thread

from adapters.sandbox.centre import Centre
from adapters.sandbox.credentials import NumberStatus, Password, TokenStatus
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.phones import TEST_NUMBER, number
from adapters.sandbox.srp import Verifier
from adapters.sandbox.store import SERVICE_ID

LONGEST_PASSWORD: Final = 256
LONGEST_HINT: Final = 128
BOT_TOKEN: Final = re.compile(r"([1-9]\d{4,9}):[A-Za-z0-9_-]{16,64}", re.ASCII)
FIRST_CHANNELS: Final = range(10**9, 2 * 10**9)
"""Ids that channels get; clients keep them and bots in one table."""


class Registrar:
    """See the module's docstring. Every phone number may be refused with SandboxError."""

    _centre: Centre

    def set_number_status(self, phone: str, status: NumberStatus | str) -> None:
        """Makes a number usual, unoccupied (who logs in is told to sign up) or banned (no code is sent).

        Logins that exist stay. Raises SandboxError for another status.
        """
        if status not in list(NumberStatus):
            raise SandboxError(f"A number is {', '.join(NumberStatus)}, not {status!r}.")
        self._centre.store.credentials.set_status(number(phone), NumberStatus(status))

    async def set_password(self, phone: str, password: str | None, hint: str = "") -> None:
        """Gives the account's login a second step, or with None takes it away. Logins that exist stay.

        Only an SRP verifier is kept. Raises SandboxError for an empty or overlong password or hint.
        """
        account = self._centre.store.account(number(phone))
        if password is None:
            self._centre.store.credentials.set_password(account.id, None)
            return
        if not 0 < len(password) <= LONGEST_PASSWORD:
            raise SandboxError(f"A password has 1 to {LONGEST_PASSWORD} characters; leave it out to have none.")
        if len(hint) > LONGEST_HINT:
            raise SandboxError(f"The hint of a password has at most {LONGEST_HINT} characters.")
        # The hash takes its time, and clients are not to wait for it.
        verifier = await anyio.to_thread.run_sync(Verifier.of, password)
        self._centre.store.credentials.set_password(account.id, Password(verifier, hint))

    def expire_codes(self, phone: str | None = None) -> int:
        """Ends the login code that was sent to a number, or to all; returns how many there were."""
        return self._centre.office.logins.expire_codes(None if phone is None else number(phone))

    def make_bot(self, token: str) -> int:
        """A bot that logs in with this token; returns its id, the number before the colon.

        One that is there already gets the token, and its old one is worth nothing. Only a digest is kept. Raises
        SandboxError for a token that cannot be.
        """
        bot = self._centre.store.bot(_bot_of(token))
        self._centre.store.credentials.set_bot_token(bot.id, token, expired=False)
        return bot.id

    def expire_bot_token(self, token: str) -> None:
        """From now on the token is refused as expired. Raises SandboxError when no bot has it."""
        credentials, id_ = self._centre.store.credentials, _bot_of(token)
        if credentials.token_status(id_, token) is TokenStatus.WRONG:
            raise SandboxError(f"Bot {id_} does not exist or has another token; make it with this one first.")
        credentials.set_bot_token(id_, token, expired=True)


def _bot_of(token: str) -> int:
    found = BOT_TOKEN.fullmatch(token)
    if found is None:
        raise SandboxError("A bot's token is its id, a colon and 16 to 64 letters, digits, dashes or underscores.")
    id_ = int(found[1])
    if id_ in FIRST_CHANNELS or TEST_NUMBER.fullmatch(found[1]) or id_ == SERVICE_ID:
        raise SandboxError(f"{id_} can be no bot, as it is the id of somebody else; take one such as 7000000001.")
    return id_
