"""The commands about logging in, as values and as JSON objects.

{"do": "password", "account": "+9996620001", "password": "...", "hint": "..."}; without `password` there is none any
more. What a value may be is the registrar's to say.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import asdict, field, frozen

from adapters.sandbox.control import fields


class LoginCommand:
    """Any of those below."""


@frozen
class SetNumberStatus(LoginCommand):
    """As `Sandbox.set_number_status`."""

    account: str
    status: str


@frozen
class SetPassword(LoginCommand):
    """As `Sandbox.set_password`."""

    account: str
    password: str | None = field(default=None, repr=False)
    hint: str | None = field(default=None, repr=False)


@frozen
class ExpireCodes(LoginCommand):
    """As `Sandbox.expire_codes`."""

    account: str | None = None


@frozen
class AcceptToken(LoginCommand):
    """As `Sandbox.accept_token`, with the token as text."""

    account: str
    token: str = field(repr=False)


@frozen
class ExpireTokens(LoginCommand):
    """As `Sandbox.expire_tokens`."""


@frozen
class SetTokenLifetime(LoginCommand):
    """As `Sandbox.set_token_lifetime`."""

    seconds: float


@frozen
class MakeBot(LoginCommand):
    """As `Sandbox.make_bot`."""

    token: str = field(repr=False)
    dc: int | None = None


@frozen
class OpenDatacenter(LoginCommand):
    """As `Sandbox.open_dc`."""

    dc: int
    port: int = 0


@frozen
class ExpireBotToken(LoginCommand):
    """As `Sandbox.expire_bot_token`."""

    token: str = field(repr=False)


Reader = Callable[[dict[str, object], str], Any]
COMMANDS: Final[Mapping[str, tuple[Callable[..., LoginCommand], Mapping[str, Reader]]]] = {
    "number": (SetNumberStatus, {"account": fields.text, "status": fields.text}),
    "password": (
        SetPassword,
        {"account": fields.text, "password": fields.secret_or_none, "hint": fields.text_or_none},
    ),
    "expire_codes": (ExpireCodes, {"account": fields.text_or_none}),
    "accept_token": (AcceptToken, {"account": fields.text, "token": fields.secret}),
    "expire_tokens": (ExpireTokens, {}),
    "token_lifetime": (SetTokenLifetime, {"seconds": fields.seconds}),
    "bot": (MakeBot, {"token": fields.secret, "dc": fields.whole_or_none}),
    "data_centre": (OpenDatacenter, {"dc": fields.whole, "port": fields.number}),
    "expire_bot": (ExpireBotToken, {"token": fields.secret}),
}
"""Each command's value, and how each of its keys is read."""
KEYS: Final = {do: frozenset(readers) for do, (_, readers) in COMMANDS.items()}


def parse(do: str, record: dict[str, object]) -> LoginCommand:
    """The value of a command that is in `COMMANDS`. Raises SandboxError for a key that cannot be read."""
    kind, readers = COMMANDS[do]
    return kind(**{key: read(record, key) for key, read in readers.items()})


def encode(command: Any) -> dict[str, Any]:
    """The JSON object that means this command."""
    (do,) = (do for do, (kind, _) in COMMANDS.items() if kind is type(command))
    return {"do": do, **asdict(command)}
