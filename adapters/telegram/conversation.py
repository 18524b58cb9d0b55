"""What Telegram asks of somebody who logs in, and how a person answers: by code, by QR, as a bot, with a password.

It knows neither a terminal nor files: a ``Person`` is asked, and a connected client has the key that becomes a login.
"""

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread
from attrs import define, field, frozen
from telethon import errors, events
from telethon.password import compute_check
from telethon.tl import types
from telethon.tl.functions.account import GetPasswordRequest
from telethon.tl.functions.auth import (
    CheckPasswordRequest,
    ExportLoginTokenRequest,
    ImportBotAuthorizationRequest,
    ImportLoginTokenRequest,
    ResendCodeRequest,
    SendCodeRequest,
    SignInRequest,
)

from adapters.telegram.classify import classify
from adapters.telegram.client import asked

TRIES: Final = 3
"""How often a wrong code, and a wrong password, may be given."""
SENDINGS: Final = 5
"""How often a code is sent at most: Telegram bans numbers from logging in that ask too often."""
MOVES: Final = 3
"""How often a login may be sent to another datacenter, or told to begin anew."""
QR_SECONDS: Final = 600.0
"""How long somebody may take to scan a QR code; it is renewed meanwhile."""
MIN_QR_SECONDS, MAX_QR_SECONDS = 0.5, 60.0
"""Between these, in seconds, a QR code lives, whatever the clocks here and there say."""


class LoginFailed(Exception):
    """The login did not come about; the text is one sentence for people, without any secret."""


@frozen
class ByCode:
    """With a code that Telegram sends; the person is asked for a phone number that is None."""

    phone: str | None = field(default=None, repr=False)


@frozen
class ByQr:
    """With a QR code that another device of the account scans."""


@frozen
class AsBot:
    """With the token of a bot."""

    token: str = field(repr=False)


Way = ByCode | ByQr | AsBot


class Person(Protocol):
    """Who logs in. Any of it may raise, which ends the login with nothing changed."""

    async def ask_phone(self) -> str:
        """Return the account's phone number."""

    async def ask_code(self, where: str) -> str:
        """Return the code, which was sent ``where`` says; empty to have it sent again."""

    async def ask_password(self, hint: str) -> str:
        """Return the password of the two-step verification; the hint may be empty."""

    async def show_qr(self, url: str) -> None:
        """Show a QR code, in the place of the last one."""

    async def say(self, sentence: str) -> None:
        """Tell something."""

    async def confirm(self, question: str) -> bool:
        """Return whether it shall be done."""


@define(eq=False)
class Conversation:
    """One login of one client, which is connected when there is something to ask."""

    client: Any
    person: Person
    name: str
    """What people call the account."""
    timeout: float
    """Seconds that each request may take, a new connection included."""
    _sent: int = field(default=0, init=False)

    async def log_in(self, way: Way) -> None:
        """Log the client's key in. Raises ``LoginFailed``, and what the person raises."""
        with translating_errors(self.name):
            try:
                await self._by(way)
            except errors.SessionPasswordNeededError:
                await self._by_password()

    async def _by(self, way: Way) -> None:
        match way:
            case ByCode(phone):
                await self._by_code(phone or await self.person.ask_phone())
            case ByQr():
                await self._by_qr()
            case AsBot(token):
                api_id, api_hash = self.client.api_id, self.client.api_hash
                await self._ask(ImportBotAuthorizationRequest(0, api_id, api_hash, token))

    # --- by code -----------------------------------------------------------------------------------------------------

    async def _by_code(self, phone: str) -> None:
        phone = "".join(filter(str.isdigit, phone))
        sent = await self._send_code(phone)
        wrong, expired = 0, False
        while wrong < TRIES:
            code = await self.person.ask_code(_where(sent))
            if not code.strip():
                sent = await self._send_again(phone, sent, expired=expired)
                expired = False
                continue
            try:
                await self._sign_in(phone, sent, code)
                return
            except (errors.PhoneCodeInvalidError, errors.PhoneCodeEmptyError, errors.CodeInvalidError):
                wrong += 1
                if wrong < TRIES:
                    await self.person.say("That is not the code that Telegram sent; look again.")
            except (errors.PhoneCodeExpiredError, errors.EmailVerifyExpiredError):
                wrong, expired = wrong + 1, True
                if wrong < TRIES:
                    await self.person.say("The code has expired; press Enter to have a new one sent.")
        raise LoginFailed(
            f"{self.name} is not logged in: {TRIES} codes were not right; wait a while, then log in again"
        )

    async def _send_code(self, phone: str) -> Any:
        self._count_sending()
        settings = types.CodeSettings()
        return self._usable(await self._ask(SendCodeRequest(phone, self.client.api_id, self.client.api_hash, settings)))

    async def _send_again(self, phone: str, sent: Any, *, expired: bool) -> Any:
        """Have the code sent once more, another way if Telegram has another."""
        if expired or sent.next_type is None:
            return await self._send_code(phone)
        self._count_sending()
        try:
            return self._usable(await self._ask(ResendCodeRequest(phone, sent.phone_code_hash)))
        except errors.PhoneCodeExpiredError:
            return await self._send_code(phone)
        except errors.SendCodeUnavailableError:
            await self.person.say("Telegram has no other way to send the code; use the one that was sent.")
            return sent

    def _count_sending(self) -> None:
        if self._sent >= SENDINGS:
            raise LoginFailed(
                f"{self.name} is not logged in: the code was sent {SENDINGS} times; wait some hours, then log in again"
            )
        self._sent += 1

    def _usable(self, sent: Any) -> Any:
        if not isinstance(sent, types.auth.SentCode) or isinstance(
            sent.type, types.auth.SentCodeTypeSetUpEmailRequired
        ):
            raise LoginFailed(
                f"{self.name} is not logged in: Telegram wants something first that only an official app can do; "
                "log in there once, then here by QR"
            )
        return sent

    async def _sign_in(self, phone: str, sent: Any, code: str) -> None:
        words = isinstance(sent.type, types.auth.SentCodeTypeSmsWord | types.auth.SentCodeTypeSmsPhrase)
        code = code.strip() if words else "".join(filter(str.isalnum, code))
        if isinstance(sent.type, types.auth.SentCodeTypeEmailCode):
            request = SignInRequest(phone, sent.phone_code_hash, email_verification=types.EmailVerificationCode(code))
        else:
            request = SignInRequest(phone, sent.phone_code_hash, code)
        if isinstance(await self._ask(request), types.auth.AuthorizationSignUpRequired):
            raise errors.PhoneNumberUnoccupiedError(request)

    # --- by QR -------------------------------------------------------------------------------------------------------

    async def _by_qr(self) -> None:
        scanned = anyio.Event()

        async def hear(_: Any) -> None:
            scanned.set()

        self.client.add_event_handler(hear, events.Raw(types.UpdateLoginToken))
        give_up = time.monotonic() + QR_SECONDS
        while time.monotonic() < give_up:
            # Asked again after it was scanned, or when the link was down meanwhile, it says what came of it.
            answer = await self._ask(ExportLoginTokenRequest(self.client.api_id, self.client.api_hash, []))
            if isinstance(answer, types.auth.LoginTokenMigrateTo):
                await self._move(answer.dc_id)
                answer = await self._ask(ImportLoginTokenRequest(answer.token))
            if isinstance(answer, types.auth.LoginTokenSuccess):
                return
            await self.person.show_qr(f"tg://login?token={base64.urlsafe_b64encode(answer.token).decode().rstrip('=')}")
            left = answer.expires.timestamp() - time.time()
            with anyio.move_on_after(min(max(left, MIN_QR_SECONDS), MAX_QR_SECONDS)):
                await scanned.wait()
            scanned = anyio.Event()
        raise LoginFailed(
            f"{self.name} is not logged in: nobody scanned the QR code within {QR_SECONDS / 60:g} minutes"
        )

    # --- the second step ---------------------------------------------------------------------------------------------

    async def _by_password(self) -> None:
        hint = (await self._ask(GetPasswordRequest())).hint or ""
        for left in reversed(range(TRIES)):
            password = await self.person.ask_password(hint)
            try:
                # Asked anew, for what the check is made with lives for a moment only.
                check = await anyio.to_thread.run_sync(compute_check, await self._ask(GetPasswordRequest()), password)
                await self._ask(CheckPasswordRequest(check))
                return
            except errors.PasswordHashInvalidError:
                if left:
                    await self.person.say("That is not the password.")
        raise LoginFailed(
            f"{self.name} is not logged in: {TRIES} passwords were wrong; wait a while, then log in again"
        )

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _ask(self, request: Any) -> Any:
        """Send a request, past Telethon's sleeps after errors, to the datacenter that it belongs to."""
        for _ in range(MOVES):
            try:
                with anyio.fail_after(self.timeout):
                    await self._connect()
                    return await asked(self.client._sender.send(request))
            except (errors.PhoneMigrateError, errors.NetworkMigrateError, errors.UserMigrateError) as exc:
                await self._move(exc.new_dc)
            except errors.AuthRestartError:
                continue
        raise LoginFailed(f"{self.name} is not logged in: Telegram sends it from one datacenter to the next; try later")

    async def _connect(self) -> None:
        """Connect the client if it is not: a person takes time, and meanwhile links break."""
        if not self.client.is_connected():
            await self.client.disconnect()
            await connect(self.client)

    async def _move(self, dc_id: int) -> None:
        with anyio.fail_after(self.timeout):
            await asked(self.client._switch_dc(dc_id))


async def connect(client: Any) -> None:
    """Connect a client. What it raises says why it could not, which Telethon's own words do not."""
    try:
        await asked(client.connect())
    except ConnectionError as exc:
        raise exc from getattr(client._sender._connection, "connect_error", None)


def _where(sent: Any) -> str:
    """Return where a code was sent, as the end of a sentence."""
    match sent.type:
        case types.auth.SentCodeTypeApp():
            return "to the account's other devices, in Telegram"
        case types.auth.SentCodeTypeCall():
            return "by a phone call"
        case types.auth.SentCodeTypeFlashCall():
            return "as the number that calls"
        case types.auth.SentCodeTypeMissedCall(length=length):
            return f"as the last {length} digits of the number that calls"
        case types.auth.SentCodeTypeEmailCode():
            return "by e-mail"
        case types.auth.SentCodeTypeFragmentSms():
            return "to fragment.com"
        case _:
            return "by SMS"


_AGAIN_TOMORROW = "Telegram has seen too many tries and says no for now; try again tomorrow"
SENTENCES: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    (
        (errors.PhoneNumberBannedError, errors.UserDeactivatedBanError, errors.UserDeactivatedError),
        "Telegram has banned this number; appeal to recover@telegram.org",
    ),
    ((errors.PhoneNumberInvalidError,), "this is no phone number that Telegram knows; write it as +49…"),
    (
        (errors.PhoneNumberUnoccupiedError, errors.PhoneNumberAppSignupForbiddenError),
        "nobody has registered this number; register it in an official app first",
    ),
    ((errors.PhoneNumberFloodError, errors.PhonePasswordFloodError), _AGAIN_TOMORROW),
    (
        (errors.ApiIdInvalidError, errors.ApiIdPublishedFloodError),
        "Telegram refuses the application; mend telegram.api_id and telegram.api_hash in the config",
    ),
    (
        (errors.AccessTokenInvalidError, errors.AccessTokenExpiredError),
        "Telegram does not know this bot token (any more); get it from @BotFather and put it into the config",
    ),
    ((errors.UpdateAppToLoginError,), "Telegram wants a newer app; update Holdfast"),
    (
        (errors.AuthTokenExpiredError, errors.AuthTokenInvalidError, errors.AuthTokenAlreadyAcceptedError),
        "the QR code was not taken; log in again",
    ),
)
"""What a refusal says, after the account's name."""
FLOODS: Final = (errors.FloodWaitError, errors.FloodPremiumWaitError, errors.FloodTestPhoneWaitError)


def explain(exc: BaseException) -> str:
    """Return what keeps an account from logging in, and what to do, as the end of a sentence."""
    if isinstance(exc, FLOODS):
        until = datetime.fromtimestamp(time.time() + exc.seconds).astimezone()
        return f"Telegram asks to wait until {until:%Y-%m-%d %H:%M:%S}; log in after that"
    for kinds, text in SENTENCES:
        if isinstance(exc, kinds):
            return text
    detail = classify(exc, what="request").detail
    if isinstance(exc, errors.RPCError):
        return f"Telegram says no: {detail}"
    return f"{detail}; see that the datacenter can be reached, then try again"


@contextmanager
def translating_errors(name: str) -> Iterator[None]:
    """Turn what Telegram and the network say into ``LoginFailed``; what a person raises stays as it is."""
    try:
        yield
    except (errors.RPCError, OSError, errors.SecurityError, errors.InvalidBufferError, errors.AuthKeyNotFound) as exc:
        raise LoginFailed(f"{name} is not logged in: {explain(exc)}") from exc
