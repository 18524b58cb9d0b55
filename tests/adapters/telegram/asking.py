"""What Telegram asks at a login and the sandbox does not know: passwords, QR codes, bots; and a person with answers."""

import os
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from attrs import define, field
from telethon import TelegramClient
from telethon.password import compute_hash
from telethon.tl import functions, types

from adapters.sandbox import services
from adapters.sandbox.desk import Desk
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import Call, Service, auth
from tests.adapters.telegram.place import PHONE

CODE = "22222"
SIZE = 256
G = 3
PRIME = int(
    "c71caeb9c6b1c9048e6c522f70f13f73980d40238e3e21c14934d037563d930f48198a0aa7c14058229493d22530f4dbfa33"
    "6f6e0ac925139543aed44cce7c3720fd51f69458705ac68cd4fe6b6b13abdc9746512969328454f18faf8c595f642477fe96"
    "bb2a941d5bcd1d4ac8cc49880708fa9b378e3c4f3a9060bee67cf9a4a4a695811051907e162753b56b0f6b410dba74d8a84b"
    "2a14b3144e0ef1284754fd17ed950d5965b4b9dd46582db1178d169c6bc465b0d6ff9ca3928fef5b9ae4e418fc15e83ebea0"
    "f87fa9ff5eed70050ded2849f47bf959d956850ce929851f0d8115f635b105ee2e4e15d04b2454bf6f4fadf034b10403119c"
    "d8e3b92fcc5b",
    16,
)
"""The one that Telegram uses; any other Telethon would try to factor, for ever."""


def _hash(*parts: bytes) -> bytes:
    return sha256(b"".join(parts)).digest()


@define(eq=False)
class Asking:
    """The services that a login can meet, put into the sandboxes of this process for one test."""

    password: str = ""
    hint: str = ""
    next_type: Any = None
    """How a code can be sent again."""
    qr_seconds: float = 60.0
    bots: dict[str, str] = field(factory=dict)
    """For each token the phone number that the bot has here."""
    moves: dict[type, str] = field(factory=dict)
    """For each kind of request the text of a 303 that it is answered with, once."""
    elsewhere: tuple[int, str, int] | None = None
    """Another data centre, for help.getConfig."""
    sent: list[str] = field(factory=list)
    """How each code was sent."""
    _receivers: dict[int, Any] = field(factory=dict)
    _pending: dict[int, str] = field(factory=dict)
    """Keys whose account still has to give its password."""
    _tokens: dict[bytes, int] = field(factory=dict)
    _scanned: dict[int, str] = field(factory=dict)
    _algo: Any = field(init=False)
    _secret: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._algo = types.PasswordKdfAlgoSHA256SHA256PBKDF2HMACSHA512iter100000SHA256ModPow(
            os.urandom(8), os.urandom(16), G, PRIME.to_bytes(SIZE, "big")
        )
        self._secret = secrets.randbits(2040)

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the sandboxes of this process offer all this."""
        for request, handler in {
            functions.auth.SendCodeRequest: self._send_code,
            functions.auth.ResendCodeRequest: self._resend_code,
            functions.auth.SignInRequest: self._sign_in,
            functions.account.GetPasswordRequest: self._get_password,
            functions.auth.CheckPasswordRequest: self._check_password,
            functions.auth.ExportLoginTokenRequest: self._export_token,
            functions.auth.ImportBotAuthorizationRequest: self._import_bot,
            functions.help.GetConfigRequest: self._config,
        }.items():
            monkeypatch.setitem(services.SERVICES, request, Service(handler, open=True))
        answer = Desk.answer

        def remember(desk: Desk, msg_id: int, key: Any, *rest: Any) -> bytes:
            self._receivers[key.id] = desk._receiver
            return answer(desk, msg_id, key, *rest)

        monkeypatch.setattr(Desk, "answer", remember)
        monkeypatch.setattr(TelegramClient, "_config", None)  # Telethon keeps the first one for the whole process

    def scan(self, url: str, phone: str = PHONE) -> None:
        """Accept a QR code with another device of this account."""
        import base64

        token = url.partition("token=")[2]
        key = self._tokens[base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))]
        self._scanned[key] = phone
        self._receivers[key].push(types.UpdateShort(types.UpdateLoginToken(), None))

    # --- services ---

    def _move(self, request: Any) -> None:
        if text := self.moves.pop(type(request), None):
            raise RpcRefusal(303, text)

    def _config(self, call: Call, request: Any) -> Any:
        config = auth.get_config(call, request)
        if self.elsewhere is not None:
            config.dc_options.append(types.DcOption(*self.elsewhere))
        return config

    def _send_code(self, call: Call, request: Any) -> Any:
        self._move(request)
        self.sent.append("app")
        sent = auth.send_code(call, request)
        sent.next_type = self.next_type
        return sent

    def _resend_code(self, call: Call, request: Any) -> Any:
        self.sent.append("sms")
        return types.auth.SentCode(types.auth.SentCodeTypeSms(5), request.phone_code_hash)

    def _sign_in(self, call: Call, request: Any) -> Any:
        answer = auth.sign_in(call, request)
        return self._second_step(call, "+" + request.phone_number) if self.password else answer

    def _second_step(self, call: Call, phone: str) -> Any:
        auth.log_out(call, None)
        self._pending[call.key.id] = phone
        raise RpcRefusal(401, "SESSION_PASSWORD_NEEDED")

    def _authorize(self, call: Call, phone: str) -> Any:
        call.account = call.store.account(phone)
        call.store.log_in(call.key, call.account.id)
        return types.auth.Authorization(services.auth.views.user(call.account, call.account.id))

    @property
    def _verifier(self) -> int:
        return pow(G, int.from_bytes(compute_hash(self._algo, self.password), "big"), PRIME)

    @property
    def _public(self) -> bytes:
        k = int.from_bytes(_hash(self._algo.p, G.to_bytes(SIZE, "big")), "big")
        return ((k * self._verifier + pow(G, self._secret, PRIME)) % PRIME).to_bytes(SIZE, "big")

    def _get_password(self, call: Call, _: Any) -> Any:
        return types.account.Password(
            types.PasswordKdfAlgoUnknown(),
            types.SecurePasswordKdfAlgoUnknown(),
            b"",
            has_password=True,
            current_algo=self._algo,
            srp_B=self._public,
            srp_id=7,
            hint=self.hint or None,
        )

    def _check_password(self, call: Call, request: Any) -> Any:
        given = int.from_bytes(request.password.A, "big")
        u = int.from_bytes(_hash(request.password.A, self._public), "big")
        shared = pow(given * pow(self._verifier, u, PRIME), self._secret, PRIME).to_bytes(SIZE, "big")
        mixed = bytes(
            left ^ right for left, right in zip(_hash(self._algo.p), _hash(G.to_bytes(SIZE, "big")), strict=True)
        )
        salts = _hash(self._algo.salt1), _hash(self._algo.salt2)
        if _hash(mixed, *salts, request.password.A, self._public, _hash(shared)) != request.password.M1:
            raise RpcRefusal(400, "PASSWORD_HASH_INVALID")
        return self._authorize(call, self._pending.pop(call.key.id))

    def _export_token(self, call: Call, _: Any) -> Any:
        if (phone := self._scanned.get(call.key.id)) is not None:
            if self.password:
                self._second_step(call, phone)
            return types.auth.LoginTokenSuccess(self._authorize(call, phone))
        token = secrets.token_bytes(32)
        self._tokens[token] = call.key.id
        return types.auth.LoginToken(call.now() + timedelta(seconds=self.qr_seconds), token)

    def _import_bot(self, call: Call, request: Any) -> Any:
        if request.bot_auth_token not in self.bots:
            raise RpcRefusal(400, "ACCESS_TOKEN_INVALID")
        return self._authorize(call, self.bots[request.bot_auth_token])


Answer = str | BaseException | Callable[[], Awaitable[str]]


@define(eq=False)
class Scripted:
    """A person who answers what was written down beforehand, and remembers what was asked and said."""

    answers: deque[Answer] = field(factory=deque, converter=deque)
    yes: bool = False
    heard: list[str] = field(factory=list)
    shown: Callable[[str], None] = lambda _: None
    """Called with each QR code."""

    async def _answer(self, question: str) -> str:
        self.heard.append(question)
        answer = self.answers.popleft()
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, str) else await answer()

    async def ask_phone(self) -> str:
        return await self._answer("phone")

    async def ask_code(self, where: str) -> str:
        return await self._answer(f"code {where}")

    async def ask_password(self, hint: str) -> str:
        return await self._answer(f"password {hint}")

    async def show_qr(self, url: str) -> None:
        self.heard.append("qr")
        self.shown(url)

    async def say(self, sentence: str) -> None:
        self.heard.append(sentence)

    async def confirm(self, question: str) -> bool:
        self.heard.append(question)
        return self.yes
