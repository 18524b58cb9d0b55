"""The commands about logging in, as values and as JSON objects.

{"do": "password", "account": "+9996620001", "password": "...", "hint": "..."}; without `password` there is none any
more. What a value may be is the registrar's to say.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from adapters.sandbox import reading


class LoginCommand:
    """Any of those below."""


@attrs.frozen
class SetNumberStatus(LoginCommand):
    """As `Sandbox.set_number_status`."""

    account: str
    status: str


@attrs.frozen
class SetPassword(LoginCommand):
    """As `Sandbox.set_password`."""

    account: str
    password: str | None = attrs.field(default=None, repr=False)
    hint: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class ExpireCodes(LoginCommand):
    """As `Sandbox.expire_codes`."""

    account: str | None = None


@attrs.frozen
class AcceptToken(LoginCommand):
    """As `Sandbox.accept_token`, with the token as text."""

    account: str
    token: str = attrs.field(repr=False)


@attrs.frozen
class ExpireTokens(LoginCommand):
    """As `Sandbox.expire_tokens`."""


@attrs.frozen
class SetTokenLifetime(LoginCommand):
    """As `Sandbox.set_token_lifetime`."""

    seconds: float


@attrs.frozen
class MakeBot(LoginCommand):
    """As `Sandbox.make_bot`."""

    token: str = attrs.field(repr=False)
    dc: int | None = None


@attrs.frozen
class OpenDataCentre(LoginCommand):
    """As `Sandbox.open_dc`."""

    dc: int
    port: int = 0


@attrs.frozen
class ExpireBotToken(LoginCommand):
    """As `Sandbox.expire_bot_token`."""

    token: str = attrs.field(repr=False)


Reader = Callable[[dict[str, object], str], Any]
COMMANDS: Final[Mapping[str, tuple[Callable[..., LoginCommand], Mapping[str, Reader]]]] = {
    "number": (SetNumberStatus, {"account": reading.text, "status": reading.text}),
    "password": (
        SetPassword,
        {"account": reading.text, "password": reading.secret_or_none, "hint": reading.text_or_none},
    ),
    "expire_codes": (ExpireCodes, {"account": reading.text_or_none}),
    "accept_token": (AcceptToken, {"account": reading.text, "token": reading.secret}),
    "expire_tokens": (ExpireTokens, {}),
    "token_lifetime": (SetTokenLifetime, {"seconds": reading.seconds}),
    "bot": (MakeBot, {"token": reading.secret, "dc": reading.whole_or_none}),
    "data_centre": (OpenDataCentre, {"dc": reading.whole, "port": reading.number}),
    "expire_bot": (ExpireBotToken, {"token": reading.secret}),
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
    return {"do": do, **attrs.asdict(command)}
