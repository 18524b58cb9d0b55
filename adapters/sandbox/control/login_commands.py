"""The commands about logging in, as values and as JSON objects.

{"do": "password", "account": "+9996620001", "password": "...", "hint": "..."} sets a password; without ``password`` it
is removed. ``LoginSettings`` checks the values.
"""

from collections.abc import Callable, Mapping
from typing import Final

from attrs import field, frozen

from adapters.sandbox.control import fields
from adapters.sandbox.control.fields import Reader


@frozen
class LoginCommand:
    """Any of the commands below."""


@frozen
class SetNumberStatus(LoginCommand):
    """As ``Sandbox.set_number_status``."""

    account: str
    status: str


@frozen
class SetPassword(LoginCommand):
    """As ``Sandbox.set_password``."""

    account: str
    password: str | None = field(default=None, repr=False)
    hint: str | None = field(default=None, repr=False)


@frozen
class ExpireCodes(LoginCommand):
    """As ``Sandbox.expire_codes``."""

    account: str | None = None


@frozen
class AcceptToken(LoginCommand):
    """As ``Sandbox.accept_token``, with the token as text."""

    account: str
    token: str = field(repr=False)


@frozen
class ExpireTokens(LoginCommand):
    """As ``Sandbox.expire_tokens``."""


@frozen
class SetTokenLifetime(LoginCommand):
    """As ``Sandbox.set_token_lifetime``."""

    seconds: float


@frozen
class MakeBot(LoginCommand):
    """As ``Sandbox.make_bot``."""

    token: str = field(repr=False)
    dc: int | None = None


@frozen
class OpenDatacenter(LoginCommand):
    """As ``Sandbox.open_dc``."""

    dc: int
    port: int = 0


@frozen
class ExpireBotToken(LoginCommand):
    """As ``Sandbox.expire_bot_token``."""

    token: str = field(repr=False)


LOGIN_COMMANDS: Final[Mapping[str, tuple[Callable[..., LoginCommand], Mapping[str, Reader]]]] = {
    "number": (SetNumberStatus, {"account": fields.read_text, "status": fields.read_text}),
    "password": (
        SetPassword,
        {"account": fields.read_text, "password": fields.read_optional_secret, "hint": fields.read_optional_text},
    ),
    "expire_codes": (ExpireCodes, {"account": fields.read_optional_text}),
    "accept_token": (AcceptToken, {"account": fields.read_text, "token": fields.read_secret}),
    "expire_tokens": (ExpireTokens, {}),
    "token_lifetime": (SetTokenLifetime, {"seconds": fields.read_seconds}),
    "bot": (MakeBot, {"token": fields.read_secret, "dc": fields.read_optional_int}),
    "data_centre": (OpenDatacenter, {"dc": fields.read_int, "port": fields.read_count}),
    "expire_bot": (ExpireBotToken, {"token": fields.read_secret}),
}
"""Each command's class, and the reader of each of its keys."""
