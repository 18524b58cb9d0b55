"""How accounts log in, as the owner of the sandbox sets it up. ``Sandbox`` inherits these methods."""

import base64
import re
from datetime import UTC, datetime
from typing import Final

import anyio.to_thread

from adapters.sandbox.errors import RpcRefusal, SandboxError
from adapters.sandbox.mtproto.srp import Verifier
from adapters.sandbox.phones import TEST_NUMBER, normalise_number
from adapters.sandbox.server.hub import Hub
from adapters.sandbox.services import qr
from adapters.sandbox.store.credentials import MAX_HINT, NumberStatus, Password, TokenStatus
from adapters.sandbox.store.database import SERVICE_ID

MAX_PASSWORD: Final = 256
MAX_LIFETIME_SECONDS: Final = 24 * 3600.0
LOGIN_URL: Final = "tg://login?token="
BOT_TOKEN: Final = re.compile(r"([1-9]\d{4,9}):[A-Za-z0-9_-]{16,64}", re.ASCII)
CHANNEL_IDS: Final = range(10**9, 2 * 10**9)
"""Ids that channels get; clients keep them and bots in one table."""


class LoginSettings:
    """The part of ``Sandbox`` about logins. A phone number that cannot exist raises SandboxError in every method."""

    _hub: Hub

    def set_number_status(self, phone: str, status: NumberStatus | str) -> None:
        """Make a number usual, unoccupied (a login is told to sign up) or banned (no code is sent).

        Existing logins stay. Raises SandboxError for another status.
        """
        if status not in list(NumberStatus):
            raise SandboxError(f"A number is {', '.join(NumberStatus)}, not {status!r}.")
        self._hub.store.credentials.set_status(normalise_number(phone), NumberStatus(status))

    async def set_password(self, phone: str, password: str | None, hint: str = "") -> None:
        """Give the account's login a second step, or with None remove it. Existing logins stay.

        Only an SRP verifier is kept. Raises SandboxError for an empty or overlong password or hint.
        """
        account = self._hub.store.account(normalise_number(phone))
        if password is None:
            self._hub.store.credentials.set_password(account.id, None)
            return
        if not 0 < len(password) <= MAX_PASSWORD:
            raise SandboxError(f"A password has 1 to {MAX_PASSWORD} characters; leave it out to have none.")
        if len(hint) > MAX_HINT:
            raise SandboxError(f"The hint of a password has at most {MAX_HINT} characters.")
        # The hash takes a tenth of a second, and clients must not wait for it.
        verifier = await anyio.to_thread.run_sync(Verifier.of, password)
        self._hub.store.credentials.set_password(account.id, Password(verifier, hint))

    def expire_codes(self, phone: str | None = None) -> int:
        """End the login code that was sent to a number, or to all; return how many there were."""
        return self._hub.shared.logins.expire_codes(None if phone is None else normalise_number(phone))

    def accept_token(self, phone: str, token: bytes | str) -> None:
        """Scan a QR code as this account.

        The token is given as bytes, or as the text of the QR code (``tg://login?token=...``, or what follows it). The
        client that shows it gets an update. Raises SandboxError, with Telegram's own text, for a worthless token.
        """
        account = self._hub.store.account(normalise_number(phone))
        try:
            key = qr.accept(self._hub.shared, account, _parse_token(token)).key
        except RpcRefusal as refusal:
            raise SandboxError(f"The login token is refused ({refusal.text}); show a fresh one.") from refusal
        self._hub.notify_login(key, qr.scanned(datetime.now(UTC)))

    def expire_tokens(self) -> int:
        """Expire all QR codes that are not accepted yet; return how many there were."""
        return self._hub.shared.logins.expire_tokens()

    def set_token_lifetime(self, seconds: float) -> None:
        """Set how long QR codes that are shown from now on are valid. Raises SandboxError for a time out of range."""
        if not 0 < seconds <= MAX_LIFETIME_SECONDS:
            raise SandboxError(
                f"A login token is good for more than 0 and at most {MAX_LIFETIME_SECONDS:.0f} s, not {seconds} s."
            )
        self._hub.shared.logins.token_lifetime = seconds

    def make_bot(self, token: str, dc_id: int | None = None) -> int:
        """Make a bot that logs in with this token, in this datacenter; return its id, the number before the colon.

        An existing bot gets the token, and its old one becomes worthless. Only a digest is kept. Raises SandboxError
        for a token that cannot exist, and for a datacenter that is not open.
        """
        id_ = _parse_bot_id(token)
        if dc_id is not None and dc_id not in self._hub.shared.addresses():
            raise SandboxError(f"Datacenter {dc_id} is not open; open it before it becomes the home of a bot.")
        bot = self._hub.store.bot(id_)
        self._hub.store.credentials.set_bot(bot.id, token, dc_id)
        return bot.id

    def expire_bot_token(self, token: str) -> None:
        """Refuse the token as expired from now on. Raises SandboxError when no bot has it."""
        credentials, id_ = self._hub.store.credentials, _parse_bot_id(token)
        if credentials.token_status(id_, token) is TokenStatus.WRONG:
            raise SandboxError(f"Bot {id_} does not exist or has another token; make it with this one first.")
        credentials.expire_bot_token(id_)


def _parse_token(token: bytes | str) -> bytes:
    if isinstance(token, bytes):
        return token
    text = token.removeprefix(LOGIN_URL)
    if not re.fullmatch(r"[A-Za-z0-9_-]+={0,2}", text, re.ASCII):
        raise SandboxError(f"A login token is the text of a QR code, {LOGIN_URL} and letters of base64url.")
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except ValueError as error:
        raise SandboxError("The login token is cut off; copy the whole text of the QR code.") from error


def _parse_bot_id(token: str) -> int:
    found = BOT_TOKEN.fullmatch(token)
    if found is None:
        raise SandboxError("A bot's token is its id, a colon and 16 to 64 letters, digits, dashes or underscores.")
    id_ = int(found[1])
    if id_ in CHANNEL_IDS or TEST_NUMBER.fullmatch(found[1]) or id_ == SERVICE_ID:
        raise SandboxError(
            f"{id_} cannot be the id of a bot, because it belongs to another account; take one such as 7000000001."
        )
    return id_
