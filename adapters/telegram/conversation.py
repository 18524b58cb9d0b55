"""The dialog of a login: by code, by QR code or as a bot, and with the password of two-step verification.

It needs neither a terminal nor files: ``LoginPrompts`` ask the operator, and the client's key becomes the login.
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

from adapters.telegram.cancellation import translate_cancellation
from adapters.telegram.classify import WAIT_ERRORS, classify, demanded_seconds

MAX_TRIES: Final = 3
"""Wrong codes, and wrong passwords, that end the login."""
MAX_SENDINGS: Final = 5
"""How often a code is sent: Telegram bans numbers from logging in that request it too often."""
MAX_MOVES: Final = 3
"""How often Telegram may send a login to another datacenter, or have it begin anew."""
QR_TIMEOUT: Final = 600.0
"""Seconds for scanning the QR code, which is renewed meanwhile."""
MIN_QR_SECONDS, MAX_QR_SECONDS = 0.5, 60.0
"""The shortest and the longest time that one QR code is shown, however the clocks here and there differ."""


class LoginFailed(Exception):
    """The login failed; the text is one sentence for the operator, without any secret."""


@frozen
class ByCode:
    """Log in with a code that Telegram sends; without a ``phone`` the operator is asked for the number."""

    phone: str | None = field(default=None, repr=False)


@frozen
class ByQr:
    """Log in with a QR code that another device of the account scans."""


@frozen
class AsBot:
    """Log in with the token of a bot."""

    token: str = field(repr=False)


LoginMethod = ByCode | ByQr | AsBot


class LoginPrompts(Protocol):
    """Asks the operator who logs in. Each method may raise, which ends the login with nothing changed."""

    async def ask_phone(self) -> str:
        """Return the account's phone number."""

    async def ask_code(self, where: str) -> str:
        """Return the code; ``where`` says where it was sent. Empty means to send it again."""

    async def ask_password(self, hint: str) -> str:
        """Return the password of the two-step verification; the hint may be empty."""

    async def show_qr(self, url: str) -> None:
        """Show a QR code in place of the last one."""

    async def say(self, sentence: str) -> None:
        """Show a sentence."""

    async def confirm(self, question: str) -> bool:
        """Return the answer to a yes-or-no question."""


@define(eq=False)
class Conversation:
    """One login of one client, which is connected whenever a request has to be sent."""

    client: Any
    prompts: LoginPrompts
    name: str
    """The account's name in the config."""
    timeout: float
    """Seconds that each request may take, a new connection included."""
    _sendings: int = field(default=0, init=False)

    async def log_in(self, method: LoginMethod) -> None:
        """Log the client's key in. Raises ``LoginFailed``, and what the prompts raise."""
        with translating_login_errors(self.name):
            try:
                await self._log_in_by(method)
            except errors.SessionPasswordNeededError:
                await self._check_password()

    async def _log_in_by(self, method: LoginMethod) -> None:
        match method:
            case ByCode(phone):
                await self._log_in_by_code(phone or await self.prompts.ask_phone())
            case ByQr():
                await self._log_in_by_qr()
            case AsBot(token):
                api_id, api_hash = self.client.api_id, self.client.api_hash
                await self._ask(ImportBotAuthorizationRequest(0, api_id, api_hash, token))

    # --- by code -----------------------------------------------------------------------------------------------------

    async def _log_in_by_code(self, phone: str) -> None:
        phone = "".join(filter(str.isdigit, phone))
        sent = await self._send_code(phone)
        wrong, expired = 0, False
        while wrong < MAX_TRIES:
            code = await self.prompts.ask_code(_describe_destination(sent))
            if not code.strip():
                sent = await self._send_again(phone, sent, expired=expired)
                expired = False
                continue
            try:
                await self._sign_in(phone, sent, code)
                return
            except (errors.PhoneCodeInvalidError, errors.PhoneCodeEmptyError, errors.CodeInvalidError):
                wrong += 1
                if wrong < MAX_TRIES:
                    await self.prompts.say("That is not the code that Telegram sent; look again.")
            except (errors.PhoneCodeExpiredError, errors.EmailVerifyExpiredError):
                wrong, expired = wrong + 1, True
                if wrong < MAX_TRIES:
                    await self.prompts.say("The code has expired; press Enter to have a new one sent.")
        raise LoginFailed(
            f"{self.name} is not logged in: {MAX_TRIES} codes were not right; wait a while, then log in again"
        )

    async def _send_code(self, phone: str) -> Any:
        self._count_sending()
        settings = types.CodeSettings()
        return self._check_sent(
            await self._ask(SendCodeRequest(phone, self.client.api_id, self.client.api_hash, settings))
        )

    async def _send_again(self, phone: str, sent: Any, *, expired: bool) -> Any:
        """Have the code sent once more, by another way if Telegram offers one."""
        if expired or sent.next_type is None:
            return await self._send_code(phone)
        self._count_sending()
        try:
            return self._check_sent(await self._ask(ResendCodeRequest(phone, sent.phone_code_hash)))
        except errors.PhoneCodeExpiredError:
            return await self._send_code(phone)
        except errors.SendCodeUnavailableError:
            await self.prompts.say("Telegram has no other way to send the code; use the one that was sent.")
            return sent

    def _count_sending(self) -> None:
        if self._sendings >= MAX_SENDINGS:
            raise LoginFailed(
                f"{self.name} is not logged in: the code was sent {MAX_SENDINGS} times; wait some hours, then log in "
                "again"
            )
        self._sendings += 1

    def _check_sent(self, sent: Any) -> Any:
        """Return ``sent`` if a code was sent. Raises ``LoginFailed`` if Telegram wants another step first."""
        if not isinstance(sent, types.auth.SentCode) or isinstance(
            sent.type, types.auth.SentCodeTypeSetUpEmailRequired
        ):
            raise LoginFailed(
                f"{self.name} is not logged in: Telegram wants something first that only an official app can do; "
                "log in there once, then here by QR"
            )
        return sent

    async def _sign_in(self, phone: str, sent: Any, code: str) -> None:
        has_words = isinstance(sent.type, types.auth.SentCodeTypeSmsWord | types.auth.SentCodeTypeSmsPhrase)
        code = code.strip() if has_words else "".join(filter(str.isalnum, code))
        if isinstance(sent.type, types.auth.SentCodeTypeEmailCode):
            request = SignInRequest(phone, sent.phone_code_hash, email_verification=types.EmailVerificationCode(code))
        else:
            request = SignInRequest(phone, sent.phone_code_hash, code)
        if isinstance(await self._ask(request), types.auth.AuthorizationSignUpRequired):
            raise errors.PhoneNumberUnoccupiedError(request)

    # --- by QR -------------------------------------------------------------------------------------------------------

    async def _log_in_by_qr(self) -> None:
        scanned = anyio.Event()

        async def on_scan(_: Any) -> None:
            scanned.set()

        self.client.add_event_handler(on_scan, events.Raw(types.UpdateLoginToken))
        give_up = time.monotonic() + QR_TIMEOUT
        while time.monotonic() < give_up:
            # Sent again after a scan, or after the link was down, the same request returns what came of the scan.
            answer = await self._ask(ExportLoginTokenRequest(self.client.api_id, self.client.api_hash, []))
            if isinstance(answer, types.auth.LoginTokenMigrateTo):
                await self._move(answer.dc_id)
                answer = await self._ask(ImportLoginTokenRequest(answer.token))
            if isinstance(answer, types.auth.LoginTokenSuccess):
                return
            await self.prompts.show_qr(
                f"tg://login?token={base64.urlsafe_b64encode(answer.token).decode().rstrip('=')}"
            )
            left = answer.expires.timestamp() - time.time()
            with anyio.move_on_after(min(max(left, MIN_QR_SECONDS), MAX_QR_SECONDS)):
                await scanned.wait()
            scanned = anyio.Event()
        raise LoginFailed(
            f"{self.name} is not logged in: the QR code was not scanned within {QR_TIMEOUT / 60:g} minutes"
        )

    # --- two-step verification ---------------------------------------------------------------------------------------

    async def _check_password(self) -> None:
        hint = (await self._ask(GetPasswordRequest())).hint or ""
        for left in reversed(range(MAX_TRIES)):
            password = await self.prompts.ask_password(hint)
            try:
                # Requested anew each time, because the parameters of the check are valid for a moment only.
                check = await anyio.to_thread.run_sync(compute_check, await self._ask(GetPasswordRequest()), password)
                await self._ask(CheckPasswordRequest(check))
                return
            except errors.PasswordHashInvalidError:
                if left:
                    await self.prompts.say("That is not the password.")
        raise LoginFailed(
            f"{self.name} is not logged in: {MAX_TRIES} passwords were wrong; wait a while, then log in again"
        )

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _ask(self, request: Any) -> Any:
        """Send a request, without Telethon's sleeps after errors, to the datacenter that is responsible for it."""
        for _ in range(MAX_MOVES):
            try:
                with anyio.fail_after(self.timeout):
                    await self._connect()
                    return await translate_cancellation(self.client._sender.send(request))
            except (errors.PhoneMigrateError, errors.NetworkMigrateError, errors.UserMigrateError) as exc:
                await self._move(exc.new_dc)
            except errors.AuthRestartError:
                continue
        raise LoginFailed(f"{self.name} is not logged in: Telegram sends it from one datacenter to the next; try later")

    async def _connect(self) -> None:
        """Connect the client if it is not connected: answers of the operator take time, and links break meanwhile."""
        if not self.client.is_connected():
            await self.client.disconnect()
            await connect(self.client)

    async def _move(self, dc_id: int) -> None:
        with anyio.fail_after(self.timeout):
            await translate_cancellation(self.client._switch_dc(dc_id))


async def connect(client: Any) -> None:
    """Connect a client. The error says why a connect failed, which Telethon's own words do not."""
    try:
        await translate_cancellation(client.connect())
    except ConnectionError as exc:
        raise exc from getattr(client._sender._connection, "connect_error", None)


def _describe_destination(sent: Any) -> str:
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
    ((errors.PhoneNumberInvalidError,), "Telegram does not accept this phone number; write it as +49…"),
    (
        (errors.PhoneNumberUnoccupiedError, errors.PhoneNumberAppSignupForbiddenError),
        "this number is not registered; register it in an official app first",
    ),
    ((errors.PhoneNumberFloodError, errors.PhonePasswordFloodError), _AGAIN_TOMORROW),
    (
        (errors.ApiIdInvalidError, errors.ApiIdPublishedFloodError),
        "Telegram refuses the application; mend telegram.api_id and telegram.api_hash in the config",
    ),
    (
        (errors.AccessTokenInvalidError, errors.AccessTokenExpiredError),
        "Telegram does not know this bot token; get the present one from @BotFather and put it into the config",
    ),
    ((errors.UpdateAppToLoginError,), "Telegram wants a newer app; update Holdfast"),
    ((errors.TypeNotFoundError,), "Telegram answers what the installed Telethon does not know; update Holdfast"),
    (
        (errors.AuthTokenExpiredError, errors.AuthTokenInvalidError, errors.AuthTokenAlreadyAcceptedError),
        "the QR code was not taken; log in again",
    ),
)
"""What a refusal means, as the end of a sentence that begins with the account's name."""


def explain(exc: BaseException) -> str:
    """Return what keeps an account from logging in, and what to do, as the end of a sentence."""
    if isinstance(exc, WAIT_ERRORS):
        until = datetime.fromtimestamp(time.time() + demanded_seconds(exc)).astimezone()
        return f"Telegram asks to wait until {until:%Y-%m-%d %H:%M:%S}; log in after that"
    for kinds, text in SENTENCES:
        if isinstance(exc, kinds):
            return text
    detail = classify(exc, what="request").detail
    if isinstance(exc, errors.RPCError):
        return f"Telegram says no: {detail}"
    return f"{detail}; see that the datacenter can be reached, then try again"


@contextmanager
def translating_login_errors(name: str) -> Iterator[None]:
    """Turn errors of Telegram and of the network into ``LoginFailed``; what the prompts raise stays as it is."""
    try:
        yield
    except (
        errors.RPCError,
        OSError,
        errors.SecurityError,
        errors.InvalidBufferError,
        errors.AuthKeyNotFound,
        errors.TypeNotFoundError,
    ) as exc:
        raise LoginFailed(f"{name} is not logged in: {explain(exc)}") from exc
