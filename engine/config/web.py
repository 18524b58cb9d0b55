"""The sections ``web``, ``health``, ``heartbeat`` and ``metrics``: what the engine tells the machines around it."""

import re
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from engine.config.secret import Secret
from engine.config.values import describe, describe_type

_LISTEN_FORM: Final = "an address and a port, such as 127.0.0.1:8080 or [::1]:8080"
_LISTEN: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]\s/@]+)):(?P<port>[0-9]{1,5})")
_URL_FORM: Final = "a URL such as https://example.org/ping"
_URL: Final = re.compile(r"[\x21-\x7e]{1,2048}")
_MIN_EVERY: Final = 1.0
_MAX_PORT: Final = 65_535


@frozen
class ListenAddress:
    """Where a server listens. ``str`` writes it as the config does; port 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class MetricAccounts(StrEnum):
    """Which accounts have series of their own."""

    TROUBLED = "troubled"
    ALL = "all"


def to_listen(value: object) -> ListenAddress:
    """Return the address that a text means. Raises ``ValueError`` with a sentence."""
    import ipaddress  # noqa: PLC0415 - for this key alone

    from engine.config.proxies import is_host  # noqa: PLC0415

    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be {_LISTEN_FORM}, not {describe(value)}")
    host, port = match["six"] or match["host"], int(match["port"])
    if match["six"] is not None:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            host = ""
    if not is_host(host) or port > _MAX_PORT:
        raise ValueError(f"must be {_LISTEN_FORM}, and the port at most {_MAX_PORT}")
    return ListenAddress(host, port)


def to_share(value: object) -> float:
    """Return the share that ``90%`` or ``0.9`` means. Raises ``ValueError`` with a sentence."""
    form = "a percentage such as 90%, from 0% to 100%"
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    percent = text.endswith("%")
    try:
        share = Decimal(text.removesuffix("%").strip()) / (100 if percent else 1)
    except InvalidOperation:
        raise ValueError(f"must be {form}, not {describe(value)}") from None
    if not share.is_finite() or not 0 <= share <= 1:
        advice = "" if percent else "; with a number above 1, write the % too"
        raise ValueError(f"must be {form}{advice}")
    return float(share)


def to_ping_url(value: object) -> str:
    """Return the URL of a heartbeat. Raises ``ValueError`` with a sentence, which never quotes it: it is a secret."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - as above

    from engine.config.proxies import is_host  # noqa: PLC0415

    if not isinstance(value, str):
        raise ValueError(f"must be {_URL_FORM}, not {describe_type(value)}")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, None
    if parts is None or not _URL.fullmatch(value) or not is_host(host) or port == 0:
        raise ValueError(f"must be {_URL_FORM}, with no blanks in it")
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must have no user or password before the host; services for this have a key in the path")
    return Secret(value)


def _are_hosts(_: Any, attribute: Any, value: tuple[str, ...]) -> None:
    from engine.config.proxies import is_host  # noqa: PLC0415 - as above

    if not all(map(is_host, value)):
        raise ValueError(f"{attribute.name} must be names of hosts without ports, such as [holdfast.example.org]")


def _often_enough(_: Any, attribute: Any, value: float) -> None:
    if value < _MIN_EVERY:
        raise ValueError(f"{attribute.name} must be at least {_MIN_EVERY:g} s")


@frozen(kw_only=True)
class WebSection:
    """The web server of the engine; it runs only where the config has this section."""

    listen: ListenAddress = ListenAddress("127.0.0.1", 8080)
    """The address and the port. On an address that other machines reach, put a reverse proxy with TLS before it."""
    hosts: tuple[str, ...] = field(default=(), validator=_are_hosts)
    """Names by which clients may ask, such as that of a reverse proxy. Addresses, `localhost`, the name in `listen` and
    names without a dot need not be here. Any other name is refused: a page in a browser could otherwise make one that
    it owns point here, and read what is served."""
    token_file: Path | None = None
    """The file with the token of the page's operators, who see everything and may pause, resume, retry and acknowledge;
    by default `web.token` in `storage.directory`. If it does not exist, it is made with a new token, for this user
    alone. `uv run python -m engine web link` prints the link with the token; with another token, old links and old
    visitors are worth nothing any more."""
    reader_token_file: Path | None = None
    """The file with the token of readers, who see everything and change nothing. Without it there are none. It is made
    like `token_file`."""

    def __attrs_post_init__(self) -> None:
        if self.reader_token_file is not None and self.reader_token_file == self.token_file:
            raise ValueError("has one file as token_file and as reader_token_file; readers need another one")


@frozen(kw_only=True)
class HealthSection:
    """What counts as ready."""

    ready_when: float = 0.9
    """The share of the accounts that must be healthy for `/readyz` to say so, such as `90%`. Paused accounts do not
    count."""


@frozen(kw_only=True)
class HeartbeatSection:
    """A dead man's switch: a service that raises an alarm when it no longer hears of the engine."""

    url: str = field(repr=False)
    """The URL that is fetched for as long as the engine lives. It is a secret: write `${NAME}`."""
    every: float = field(default=60.0, validator=_often_enough)
    """How often it is fetched, at least `1s`."""


@frozen(kw_only=True)
class MetricsSection:
    """The series at ``/metrics``."""

    accounts: MetricAccounts = MetricAccounts.TROUBLED
    """The accounts that have series of their own: `troubled` is those that are not healthy, 1,000 of them at most, and
    `all` is every account."""
