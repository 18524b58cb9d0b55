"""The first sections of a config: the application, the engine's files, the accounts. No ``repr`` shows a secret."""

import base64
import binascii
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import field, frozen

from adapters.file_names import misplaced_secret, name_problem, pasted_secret
from engine.config.node import is_pattern
from engine.config.outline import API_HASH, DEFAULT_DIRECTORY, MAX_INT
from engine.config.secret import Secret, to_secret
from engine.config.values import MAX_NAME, describe_type, is_name

if TYPE_CHECKING:  # few accounts have one, and few commands need it
    from engine.config.proxies import ProxyConfig

MAX_WAIT_IN_PLACE: Final = 86_400.0
MAX_LOOKUPS_PER_DAY: Final = 10_000
"""Seconds of the longest flood wait that a request can wait for in place, as in Telethon."""
_BOT_TOKEN: Final = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{8,128}")


class UnknownAccount(LookupError):
    """The config has no account with this name. The text is a sentence that names the nearest one."""


def positive(_: Any, attribute: "attrs.Attribute[Any]", value: int) -> None:
    """Raise for a number that is not positive, or that Telegram's protocol has no room for."""
    if not 1 <= value <= MAX_INT:
        raise ValueError(f"{attribute.name} must be a whole number from 1 to {MAX_INT}")


def _more_than_zero(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 s; leave the key out to keep everything")


def _within(largest: int) -> Any:
    def check(_: Any, attribute: "attrs.Attribute[Any]", value: int) -> None:
        if not 1 <= value <= largest:
            raise ValueError(f"{attribute.name} must be from 1 to {largest}")

    return check


def _is_api_hash(_: Any, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not API_HASH.fullmatch(value):
        raise ValueError(f"{attribute.name} must be 32 hex digits; copy it from https://my.telegram.org/apps")


def _is_bot_token(_: Any, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not _BOT_TOKEN.fullmatch(value):
        raise ValueError(f"{attribute.name} must be a number, a colon and a key; copy it from @BotFather")


def _is_host(_: Any, attribute: "attrs.Attribute[Any]", value: str) -> None:
    from engine.config.proxies import is_host  # noqa: PLC0415 - for another datacenter alone

    if not is_host(value) or pasted_secret(value) is not None:
        raise ValueError(f"{attribute.name} must be a host name or an IP address, like 127.0.0.1")


def _is_session(_: Any, attribute: "attrs.Attribute[Any]", value: Path) -> None:
    """Raise for a text in place of a path: a program that makes its config itself has no loader that refuses it."""
    if (problem := name_problem(value)) is not None:
        raise ValueError(f"{attribute.name} {problem}")


def _is_name(_: Any, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if (secret := misplaced_secret(value)) is not None:
        raise ValueError(f"{attribute.name} must be what the account is called, and what is written here is {secret}")
    if not is_name(value):
        raise ValueError(f"{attribute.name} must be 1 to {MAX_NAME} printable characters, with no space at either end")


@frozen
class SandboxConfig:
    """The sandbox datacenter, which the engine starts on loopback."""


@frozen(kw_only=True)
class DatacenterConfig:
    """Another datacenter; ``public_key`` is the text of its PKCS#1 PEM block, not a path."""

    id: int = field(validator=_within(999))
    """The number of the datacenter, from 1 to 999."""
    host: str = field(validator=_is_host)
    """A host name or an IP address."""
    port: int = field(validator=_within(65535))
    """From 1 to 65535."""
    public_key: str = field(repr=False)
    """The path of a PEM file with the server's RSA key (PKCS#1: ``BEGIN RSA PUBLIC KEY``)."""


@frozen(kw_only=True)
class Telegram:
    """The application with which the accounts log in, and the datacenter: None is Telegram itself."""

    api_id: int = field(validator=positive)
    """The number of your application, from https://my.telegram.org/apps. The sandbox accepts any number."""
    api_hash: str = field(validator=_is_api_hash, converter=Secret, repr=False)
    """The hash of your application, 32 hex digits. It is a secret: ``${API_HASH}`` reads it from the environment."""
    datacenter: DatacenterConfig | SandboxConfig | None = None
    """Where the accounts connect: ``sandbox`` is a datacenter that the engine starts on this machine. A mapping names
    another one. Left out, it is Telegram itself."""


@frozen(kw_only=True)
class Storage:
    """Where the engine keeps its own files: ``engine.db`` and ``logs/`` are in ``directory`` (absolute).

    ``keep`` is how long the journal keeps its entries; None is for ever.
    """

    directory: Path = Path(DEFAULT_DIRECTORY)
    """The directory of the engine's own files: ``engine.db``, ``logs/``, ``backups/`` and the sandbox's state. A
    relative path starts at the config file."""
    keep: float | None = field(default=None, validator=attrs.validators.optional(_more_than_zero))
    """How long the journal keeps its entries, such as ``90d``, and jobs that were done or cancelled before that. Failed
    jobs stay until they are retried or cancelled. Left out, everything is kept."""
    database: str | None = field(default=None, repr=False)
    """The PostgreSQL database that several nodes share, such as ``postgresql://user:${PGPASSWORD}@host/holdfast``, with
    all its servers after the ``@``. It has a password in it: write ``${NAME}``. Left out, everything is in files."""
    session_key: str | None = field(default=None, repr=False)
    """The key by which the keys of sessions in the database are encrypted: 32 bytes as Base64, such as ``openssl rand
    -base64 32`` prints. Write ``${HOLDFAST_SESSION_KEY}``. Several are separated by commas: the first one encrypts,
    all decrypt. Left out, sessions are not encrypted."""


_DATABASE: Final = re.compile(r"postgres(?:ql)?://[^\s\x00-\x1f\x7f]{1,4096}")


def to_database(value: Any) -> str | None:
    """Return the address of a database. Raises ``ValueError`` with a sentence, which never quotes it."""
    if value is None:
        return None
    form = "must be the address of a PostgreSQL database, like postgresql://user:${PGPASSWORD}@host/holdfast"
    if not isinstance(value, str):
        raise ValueError(f"{form}, not {describe_type(value)}")
    if not _DATABASE.fullmatch(value):
        raise ValueError(f"{form}, with no blanks in it; a blank in a password is %20")
    return Secret(value)


_BETWEEN_KEYS: Final = re.compile(r"[,\s]+")


def to_session_key(value: Any) -> str | None:
    """Return the session keys of a config, as they are written. Raises ``ValueError``, which never quotes them."""
    if value is None:
        return None
    form = "must be 32 bytes as Base64, as 'openssl rand -base64 32' prints them; write ${HOLDFAST_SESSION_KEY}"
    if not isinstance(value, str):
        raise ValueError(f"{form}, not {describe_type(value)}")
    keys = [_key_bytes(part) for part in _BETWEEN_KEYS.split(value.strip(", \t\r\n"))]
    if not all(keys):
        raise ValueError(f"{form}; several are separated by commas")
    if len(set(keys)) < len(keys):
        raise ValueError("has the same key twice; each is to be there once, the one that encrypts first")
    return Secret(value)


def _key_bytes(text: str) -> bytes:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return key if len(key) == 32 else b""


def _wait_in_place(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 <= value <= MAX_WAIT_IN_PLACE:
        raise ValueError(f"{attribute.name} must be from 0 s (no waiting in place) to a day")


@frozen(kw_only=True)
class RequestsSection:
    """What becomes of a request that Telegram asks to wait."""

    wait_up_to: float = field(default=60.0, validator=_wait_in_place)
    """The longest flood wait that a request waits for in place, and is sent again after; a longer one raises
    ``FloodWaitError`` at once. ``0`` waits for none. A day is the most."""


def _per_day(_: Any, attribute: "attrs.Attribute[Any]", value: int) -> None:
    if not 1 <= value <= MAX_LOOKUPS_PER_DAY:
        raise ValueError(f"{attribute.name} must be from 1 to {MAX_LOOKUPS_PER_DAY}")


@frozen(kw_only=True)
class UsernamesSection:
    """How many usernames an account may look up."""

    per_day: int = field(default=200, validator=_per_day)
    """The usernames that one account looks up in any 24 hours. Telegram allows about 200 and makes an account wait for
    hours after more. Names that are known, and ids, need no look-up."""


@frozen(kw_only=True)
class AccountConfig:
    """One account: ``session`` is Telethon's file (absolute, ends in ``.session``), which need not exist yet.

    ``phone`` is the number that gets the code at a login; ``bot_token`` makes the account a bot. ``proxy`` has the
    routes to Telegram in the order in which they are tried: None is a direct connection, and an empty tuple means the
    same.
    """

    name: str = field(validator=_is_name)
    """What the account is called in commands and log lines: 1 to 64 printable characters. Leave it out where
    ``session`` has a wildcard: each account is called after its file then."""
    session: Path = field(validator=_is_session)
    """Telethon's session file; ``.session`` is added if it is not there, and a relative path starts at the config file.
    The file may not exist yet. A wildcard (``*`` or ``?``) stands for all files that fit."""
    phone: str | None = field(default=None, converter=to_secret, repr=False)
    """The phone number, in quotes, for ``login``, which asks for it if it is left out. The sandbox logs test numbers
    (``+99966…``) in by itself."""
    bot_token: str | None = field(
        default=None, converter=to_secret, repr=False, validator=attrs.validators.optional(_is_bot_token)
    )
    """The token of a bot, from @BotFather, instead of ``phone``. It is a secret: write ``${NAME}``."""
    proxy: "tuple[ProxyConfig | None, ...]" = ()
    """The way to Telegram, or a list of ways that are tried in order, in which ``direct`` means without a proxy. Left
    out, the account connects directly."""
    requests: RequestsSection | None = None
    """What is different with this account's requests. Left out, the section ``requests`` holds."""
    hosts: str = field(default="*", validator=is_pattern)
    """Where the account may be, among nodes that share a database: the ``node.host`` of a node, or a pattern such as
    ``eu-*``."""
